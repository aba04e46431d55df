/*
 * nitroimageverdicttest.c: tests of src/nitro/nitro_image_verdict.c
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a checker prints, as it should and as it should not; what becomes of a start then is tested
 * by e2e/test_image.py.
 */

#include <config.h>

#include "nitro_image_verdict.h"
#include "nitro_monitor_message.h"
#include "virerror.h"

#define PCR48 "0123456789abcdef0123456789abcdef0123456789abcdef"
#define PCR PCR48 PCR48
#define SIGNATURE PCR "," PCR "," PCR

/* A failure with the text @text, in JSON */
#define FAILURE(text) "{\"failure\": {\"code\": \"image\", \"text\": \"" text "\"}}\n"

typedef struct {
    const char *output;
    const char *signature;
    const char *code;
    const char *text;
    const char *why; /* a part of it; NULL: it is a verdict */
} Case;

static const Case cases[] = {
    { "{}\n", NULL, NULL, NULL, NULL },
    { "{\"signature\":\"" SIGNATURE "\"}\n", SIGNATURE, NULL, NULL, NULL },
    { FAILURE("no, 'x' it is"), NULL, "image", "no, 'x' it is", NULL },
    { "{\"failure\": {\"text\": \"a\", \"code\": \"config\"}}\n", NULL, "config", "a", NULL },
    { "{\"failure\": {\"text\": \"a\", \"code\": \"internal\"}}\n", NULL, "internal", "a", NULL },
    /* what is shown can be */
    { FAILURE("a\\u001b[31mb\\nc\\u202ed \303\244"), NULL, "image", "a?[31mb c?d \303\244", NULL },
    { FAILURE("\342\202\254 \\\\\303\244 \360\237\230\200"), NULL, "image",
      "\342\202\254 \\\303\244 \360\237\230\200", NULL },

    /* no line */
    { "", NULL, NULL, NULL, "one line" },
    { "\n", NULL, NULL, NULL, "JSON" },
    { "{}", NULL, NULL, NULL, "one line" },
    { "{}\n\n", NULL, NULL, NULL, "one line" },
    { "{}\n{}\n", NULL, NULL, NULL, "one line" },
    { "{\n}\n", NULL, NULL, NULL, "one line" },
    { "{}\n ", NULL, NULL, NULL, "one line" },

    /* no object */
    { "null\n", NULL, NULL, NULL, "JSON" },
    { "[]\n", NULL, NULL, NULL, "JSON" },
    { "\"x\"\n", NULL, NULL, NULL, "JSON" },
    { "{}{}\n", NULL, NULL, NULL, "JSON" },
    { "{\"signature\":\n", NULL, NULL, NULL, "JSON" },
    { "{'signature': 1}\n", NULL, NULL, NULL, "JSON" },
    { "{\"signature\":\"\033[31m\"}\n", NULL, NULL, NULL, "JSON" },
    { "{\"a\xff\": 1}\n", NULL, NULL, NULL, "JSON" },
    { FAILURE("\\\303\244"), NULL, NULL, NULL, "JSON" },
    { "{\"signature\":\"" SIGNATURE "\",\"signature\":\"" SIGNATURE "\"}\n",
      NULL, NULL, NULL, "JSON" },

    { "{\"failure\":{\"code\":\"image\",\"text\":\"a\",\"text\":\"b\"}}\n",
      NULL, NULL, NULL, "JSON" },
    { "{\"signature\":\"" SIGNATURE "\",\"signatur\\u0065\":\"" SIGNATURE "\"}\n",
      NULL, NULL, NULL, "JSON" },

    /* another object */
    { "{\"verdict\": true}\n", NULL, NULL, NULL, "members" },
    { "{\"signature\":\"" SIGNATURE "\",\"more\":1}\n", NULL, NULL, NULL, "members" },
    { "{\"signature\":\"" SIGNATURE "\",\"failure\":{\"code\":\"image\",\"text\":\"a\"}}\n",
      NULL, NULL, NULL, "members" },
    { "{\"signature\":null}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":1}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":\"\"}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":\"" PCR "\"}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":\"" PCR "," PCR "\"}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":\"" SIGNATURE "," PCR "\"}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":\"" SIGNATURE ",\"}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":\"" SIGNATURE "0\"}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":\"" PCR "," PCR48 "," PCR "\"}\n", NULL, NULL, NULL, "'signature'" },
    { "{\"signature\":\"" PCR "," PCR "," PCR48
      "0123456789ABCDEF0123456789abcdef0123456789abcdef\"}\n",
      NULL, NULL, NULL, "'signature'" },
    { "{\"failure\":\"image\"}\n", NULL, NULL, NULL, "'failure'" },
    { "{\"failure\":[]}\n", NULL, NULL, NULL, "'failure'" },
    { "{\"failure\":{}}\n", NULL, NULL, NULL, "'failure'" },
    { "{\"failure\":{\"code\":\"image\"}}\n", NULL, NULL, NULL, "'failure'" },
    { "{\"failure\":{\"code\":\"image\",\"text\":1}}\n", NULL, NULL, NULL, "'failure'" },
    { "{\"failure\":{\"code\":\"fine\",\"text\":\"a\"}}\n", NULL, NULL, NULL, "'failure'" },
    { "{\"failure\":{\"code\":1,\"text\":\"a\"}}\n", NULL, NULL, NULL, "'failure'" },
    { FAILURE(""), NULL, NULL, NULL, "'failure'" },
    { FAILURE(" \\n "), NULL, NULL, NULL, "'failure'" },
};


static void
check(const Case *test,
      size_t len)
{
    g_auto(nitroImageVerdict) verdict = { 0 };
    g_autofree char *why = NULL;
    g_autofree char *shown = g_strescape(test->output, NULL);
    int rc = nitroImageVerdictRead(test->output, len, &verdict, &why);

    g_test_message("%.100s", shown);
    g_assert_cmpint(rc, ==, test->why ? -1 : 0);
    g_assert_cmpstr(verdict.signature, ==, test->signature);
    g_assert_cmpstr(verdict.code, ==, test->code);
    g_assert_cmpstr(verdict.text, ==, test->text);
    g_assert_true(!why == !test->why);
    if (why)
        g_assert_nonnull(strstr(why, test->why));
    /* Of what is wrong the caller tells. */
    g_assert_cmpint(virGetLastErrorCode(), ==, VIR_ERR_OK);
}


static void
testCases(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++)
        check(&cases[i], strlen(cases[i].output));
}


static void
testBytes(void)
{
    const Case nul = { "{}\0\n", NULL, NULL, NULL, "one line" };

    check(&nul, 4);
}


/* As long as may be, and one byte more */
static void
testLength(void)
{
    g_autoptr(GString) text = g_string_new("{\"failure\": {\"code\": \"image\", \"text\": \"");
    Case test = { 0 };

    while (text->len < NITRO_IMAGE_VERDICT_MAX - 4)
        g_string_append_c(text, 'x');
    g_string_append(text, "\"}}\n");
    test.output = text->str;
    {
        g_auto(nitroImageVerdict) verdict = { 0 };
        g_autofree char *why = NULL;

        g_assert_cmpint(nitroImageVerdictRead(text->str, text->len, &verdict, &why), ==, 0);
        g_assert_cmpuint(strlen(verdict.text), <=, NITRO_MONITOR_TEXT_MAX + 3);
    }
    g_string_insert_c(text, 1, ' ');
    test.output = text->str;
    test.why = "one line";
    check(&test, text->len);
}


int
main(int argc,
     char **argv)
{
    if (virErrorInitialize() < 0)
        return 1;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verdict/cases", testCases);
    g_test_add_func("/verdict/bytes", testBytes);
    g_test_add_func("/verdict/length", testLength);
    return g_test_run();
}
