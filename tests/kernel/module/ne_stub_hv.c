// SPDX-License-Identifier: GPL-2.0
/*
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * A stand-in for the Nitro Enclaves PCI device and the hypervisor behind it.
 *
 * The kernel's ne_pci_dev.c (unmodified) talks to this file through the
 * macros of ne_shim.h: it writes a request into NE_SEND_DATA, a command
 * number into NE_COMMAND, waits for the "reply interrupt" and reads the reply
 * from NE_RECV_DATA.  Out-of-band events are delivered by calling the event
 * interrupt handler that ne_pci_dev.c registered.
 *
 * debugfs, under <debugfs>/ne_stub:
 *   log                  every request with its parameters and its result
 *                        (a write empties it)
 *   slots                one line per allocated slot
 *   ctl                  commands, one per write, see ctl_write()
 *   slot-<uid>/regions   "enclave-offset physical-address size" per region
 *   slot-<uid>/mem       the donated bytes, in enclave address order
 */
#define NE_STUB_IMPL
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "ne_shim.h"
#include "ne_misc_dev.h"
#include "ne_pci_dev.h"

#define BLK		(2UL << 20)	/* granularity of the late-write check */
#define EIF_OFFSET	(8UL << 20)
#define LOG_SIZE	(1U << 20)
#define NO_REPLY	(-100000)

/* The kernel's sample adds 256 regions of 2 MiB: the real limit is not below that. */
#define MAX_REGIONS_DEFAULT 1024
static unsigned int stub_max_regions = MAX_REGIONS_DEFAULT;
module_param(stub_max_regions, uint, 0644);
MODULE_PARM_DESC(stub_max_regions, "mem_regions answered to SLOT_ALLOC (next allocation)");

static unsigned int stub_first_cid = 16;
module_param(stub_first_cid, uint, 0444);
MODULE_PARM_DESC(stub_first_cid, "first automatic enclave CID");

static bool stub_verify = true;
module_param(stub_verify, bool, 0644);
MODULE_PARM_DESC(stub_verify, "hash donated memory, to report writes after the donation");

static bool stub_scrub = true;
module_param(stub_scrub, bool, 0644);
MODULE_PARM_DESC(stub_scrub, "fill donated memory with 0x5c at SLOT_FREE");

struct region {
	u64 paddr;
	u64 size;
	u64 *hash;		/* one per BLK, at donation time */
};

struct slot {
	struct list_head link;
	u64 uid;
	u64 cid;
	u64 flags;
	u64 mem_size;
	u16 state;
	bool ever_ran;
	unsigned int max_regions;
	unsigned int nr_regions;
	struct region *regions;
	unsigned int nr_vcpus;
	u32 vcpus[128];
	pid_t owner;
	char comm[TASK_COMM_LEN];
	struct dentry *dir;
};

static struct pci_dev *fake_pdev;
static u8 *regs;
static irq_handler_t irq_fn[2];
static void *irq_arg[2];

static DEFINE_MUTEX(hv_lock);		/* slots, knobs */
static LIST_HEAD(slots);
static u32 next_cid;
static struct dentry *top;

static struct {
	int err;			/* 0: none, NO_REPLY: swallow */
	unsigned int count;
	unsigned int skip;
	unsigned int delay_ms;
} knob[MAX_CMD];

static const char * const cmd_name[MAX_CMD] = {
	[ENCLAVE_START] = "ENCLAVE_START", [ENCLAVE_GET_SLOT] = "ENCLAVE_GET_SLOT",
	[ENCLAVE_STOP] = "ENCLAVE_STOP", [SLOT_ALLOC] = "SLOT_ALLOC",
	[SLOT_FREE] = "SLOT_FREE", [SLOT_ADD_MEM] = "SLOT_ADD_MEM",
	[SLOT_ADD_VCPU] = "SLOT_ADD_VCPU", [SLOT_COUNT] = "SLOT_COUNT",
	[NEXT_SLOT] = "NEXT_SLOT", [SLOT_INFO] = "SLOT_INFO",
	[SLOT_ADD_BULK_VCPUS] = "SLOT_ADD_BULK_VCPUS",
};

/* ---- log -------------------------------------------------------------- */

static DEFINE_MUTEX(log_lock);
static char *logbuf;
static size_t loglen;
static unsigned long logseq;

static __printf(1, 2) void hv_log(const char *fmt, ...)
{
	va_list ap;
	size_t room;

	mutex_lock(&log_lock);
	room = LOG_SIZE - loglen;
	if (room > 512) {
		loglen += scnprintf(logbuf + loglen, room, "%lu t=%llu pid=%d(%s) ",
				    ++logseq, ktime_get_ns() / NSEC_PER_MSEC,
				    task_tgid_nr(current), current->comm);
		va_start(ap, fmt);
		loglen += vscnprintf(logbuf + loglen, LOG_SIZE - loglen - 1, fmt, ap);
		va_end(ap);
		logbuf[loglen++] = '\n';
	}
	mutex_unlock(&log_lock);
}

static ssize_t log_read(struct file *f, char __user *buf, size_t n, loff_t *pos)
{
	ssize_t rc;

	mutex_lock(&log_lock);
	rc = simple_read_from_buffer(buf, n, pos, logbuf, loglen);
	mutex_unlock(&log_lock);
	return rc;
}

static ssize_t log_write(struct file *f, const char __user *buf, size_t n, loff_t *pos)
{
	mutex_lock(&log_lock);
	loglen = 0;
	mutex_unlock(&log_lock);
	return n;
}

static const struct file_operations log_fops = {
	.owner = THIS_MODULE, .open = simple_open, .llseek = default_llseek,
	.read = log_read, .write = log_write,
};

/* ---- slots ------------------------------------------------------------ */

static struct slot *find_slot(u64 uid)
{
	struct slot *s;

	list_for_each_entry(s, &slots, link)
		if (s->uid == uid)
			return s;
	return NULL;
}

static struct slot *find_cid(u64 cid)
{
	struct slot *s;

	list_for_each_entry(s, &slots, link)
		if (s->state == NE_STATE_RUNNING && s->cid == cid)
			return s;
	return NULL;
}

static u64 hash_block(const void *p, size_t n)
{
	const u64 *w = p;
	u64 h = 0x9e3779b97f4a7c15ULL;
	size_t i;

	for (i = 0; i < n / 8; i++)
		h = ((h << 7) | (h >> 57)) ^ (w[i] * 0xff51afd7ed558ccdULL);
	return h;
}

static void region_hash(struct region *r)
{
	u64 i;

	r->hash = stub_verify ? kvcalloc(r->size / BLK, sizeof(u64), GFP_KERNEL) : NULL;
	for (i = 0; r->hash && i < r->size / BLK; i++) {
		r->hash[i] = hash_block(__va(r->paddr + i * BLK), BLK);
		cond_resched();
	}
}

/* Report the blocks that changed since they were donated. */
static unsigned int slot_late_writes(struct slot *s)
{
	unsigned int i, hits = 0;
	u64 off = 0, b;

	for (i = 0; i < s->nr_regions; off += s->regions[i].size, i++) {
		struct region *r = &s->regions[i];

		for (b = 0; r->hash && b < r->size / BLK; b++) {
			if (hash_block(__va(r->paddr + b * BLK), BLK) == r->hash[b])
				continue;
			if (hits++ < 8)
				hv_log("LATE_WRITE slot=0x%llx enclave_offset=0x%llx: written after SLOT_ADD_MEM",
				       s->uid, off + b * BLK);
			cond_resched();
		}
	}
	return hits;
}

/* Copy from the enclave's memory, by enclave address. */
static size_t slot_peek(struct slot *s, u64 off, void *dst, size_t n)
{
	size_t done = 0;
	unsigned int i;
	u64 base = 0;

	for (i = 0; i < s->nr_regions && done < n; i++) {
		struct region *r = &s->regions[i];

		if (off + done >= base && off + done < base + r->size) {
			u64 in = off + done - base;
			size_t len = min_t(u64, n - done, r->size - in);

			memcpy(dst + done, __va(r->paddr + in), len);
			done += len;
		}
		base += r->size;
	}
	return done;
}

static ssize_t mem_read(struct file *f, char __user *buf, size_t n, loff_t *pos)
{
	u64 uid = *(u64 *)f->private_data;
	struct slot *s;
	ssize_t done = 0;
	void *page;

	page = (void *)__get_free_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	mutex_lock(&hv_lock);
	s = find_slot(uid);
	if (!s)
		done = -ENODEV;
	while (s && (size_t)done < n) {
		size_t got = slot_peek(s, *pos, page, min_t(size_t, n - done, PAGE_SIZE));

		if (!got)
			break;
		if (copy_to_user(buf + done, page, got)) {
			done = done ? done : -EFAULT;
			break;
		}
		done += got;
		*pos += got;
	}
	mutex_unlock(&hv_lock);
	free_page((unsigned long)page);
	return done;
}

static int mem_open(struct inode *ino, struct file *f)
{
	u64 *uid = kmemdup(ino->i_private, sizeof(u64), GFP_KERNEL);

	f->private_data = uid;
	return uid ? 0 : -ENOMEM;
}

static int mem_release(struct inode *ino, struct file *f)
{
	kfree(f->private_data);
	return 0;
}

static const struct file_operations mem_fops = {
	.owner = THIS_MODULE, .open = mem_open, .release = mem_release,
	.llseek = default_llseek, .read = mem_read,
};

static int regions_show(struct seq_file *m, void *v)
{
	struct slot *s;
	unsigned int i;
	u64 off = 0;

	mutex_lock(&hv_lock);
	s = find_slot(*(u64 *)m->private);
	for (i = 0; s && i < s->nr_regions; off += s->regions[i].size, i++)
		seq_printf(m, "0x%llx 0x%llx 0x%llx\n", off,
			   s->regions[i].paddr, s->regions[i].size);
	mutex_unlock(&hv_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(regions);

static const char *state_name(u16 st)
{
	return st == NE_STATE_INIT ? "init" : st == NE_STATE_RUNNING ? "running" : "stopped";
}

static int slots_show(struct seq_file *m, void *v)
{
	struct slot *s;
	unsigned int i;

	mutex_lock(&hv_lock);
	list_for_each_entry(s, &slots, link) {
		seq_printf(m, "slot=0x%llx state=%s cid=%llu flags=0x%llx regions=%u mem=%llu pid=%d comm=%s vcpus=",
			   s->uid, state_name(s->state), s->cid, s->flags,
			   s->nr_regions, s->mem_size, s->owner, s->comm);
		for (i = 0; i < s->nr_vcpus; i++)
			seq_printf(m, "%s%u", i ? "," : "", s->vcpus[i]);
		seq_puts(m, "\n");
	}
	mutex_unlock(&hv_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(slots);

/* ---- the hypervisor --------------------------------------------------- */

static int do_alloc(struct ne_pci_dev_cmd_reply *re)
{
	struct slot *s = kzalloc(sizeof(*s), GFP_KERNEL);
	char name[32];

	if (!s)
		return -ENOMEM;
	s->max_regions = stub_max_regions;
	s->regions = kvcalloc(max(s->max_regions, 1U), sizeof(*s->regions), GFP_KERNEL);
	if (!s->regions) {
		kfree(s);
		return -ENOMEM;
	}
	/* Slot uids are 64 bits wide on the real thing: never let one fit an int. */
	s->uid = (0x0190ULL << 48) | (get_random_u64() & 0xffffffffffffULL) | (1ULL << 47);
	s->owner = task_tgid_nr(current);
	strscpy(s->comm, current->group_leader->comm, sizeof(s->comm));
	snprintf(name, sizeof(name), "slot-0x%llx", s->uid);
	s->dir = debugfs_create_dir(name, top);
	debugfs_create_file("mem", 0400, s->dir, &s->uid, &mem_fops);
	debugfs_create_file("regions", 0400, s->dir, &s->uid, &regions_fops);

	mutex_lock(&hv_lock);
	list_add_tail(&s->link, &slots);
	mutex_unlock(&hv_lock);

	re->slot_uid = s->uid;
	re->mem_regions = s->max_regions;
	return 0;
}

static int do_free(u64 uid)
{
	struct slot *s;
	unsigned int i;

	mutex_lock(&hv_lock);
	s = find_slot(uid);
	if (s && s->state != NE_STATE_RUNNING)
		list_del(&s->link);
	mutex_unlock(&hv_lock);
	if (!s)
		return -ENOENT;
	if (s->state == NE_STATE_RUNNING)
		return -EBUSY;

	debugfs_remove(s->dir);		/* waits for readers: not under hv_lock */
	for (i = 0; i < s->nr_regions; i++) {
		if (stub_scrub)
			memset(__va(s->regions[i].paddr), 0x5c, s->regions[i].size);
		kvfree(s->regions[i].hash);
	}
	kvfree(s->regions);
	kfree(s);
	return 0;
}

/* The one with this number, to which more can be given until it is started */
static struct slot *find_unstarted(u64 uid)
{
	struct slot *s = find_slot(uid);

	if (!s)
		return ERR_PTR(-ENOENT);
	return s->state == NE_STATE_INIT ? s : ERR_PTR(-EPERM);
}

static int do_add_mem(struct slot_add_mem_req *rq, struct ne_pci_dev_cmd_reply *re)
{
	struct slot *s, *o;
	unsigned int i;

	s = find_unstarted(rq->slot_uid);
	if (IS_ERR(s))
		return PTR_ERR(s);
	if (!rq->size || (rq->size | rq->paddr) & (BLK - 1))
		return -EINVAL;
	if (s->nr_regions >= s->max_regions)
		return -ENOSPC;
	list_for_each_entry(o, &slots, link)
		for (i = 0; i < o->nr_regions; i++)
			if (rq->paddr < o->regions[i].paddr + o->regions[i].size &&
			    o->regions[i].paddr < rq->paddr + rq->size)
				return -EEXIST;		/* already donated */

	s->regions[s->nr_regions].paddr = rq->paddr;
	s->regions[s->nr_regions].size = rq->size;
	region_hash(&s->regions[s->nr_regions]);
	s->nr_regions++;
	s->mem_size += rq->size;
	re->slot_uid = s->uid;
	return 0;
}

static int do_add_vcpu(struct slot_add_vcpu_req *rq, struct ne_pci_dev_cmd_reply *re)
{
	struct slot *s, *o;
	unsigned int i;

	s = find_unstarted(rq->slot_uid);
	if (IS_ERR(s))
		return PTR_ERR(s);
	list_for_each_entry(o, &slots, link)
		for (i = 0; i < o->nr_vcpus; i++)
			if (o->vcpus[i] == rq->vcpu_id)
				return -EEXIST;
	if (cpu_online(rq->vcpu_id))
		return -EBUSY;		/* still in use by the parent */
	if (s->nr_vcpus >= ARRAY_SIZE(s->vcpus))
		return -ENOSPC;
	s->vcpus[s->nr_vcpus++] = rq->vcpu_id;
	re->slot_uid = s->uid;
	return 0;
}

static int do_start(struct enclave_start_req *rq, struct ne_pci_dev_cmd_reply *re)
{
	struct slot *s = find_unstarted(rq->slot_uid);
	unsigned int late;
	u8 magic[4] = {};

	if (IS_ERR(s))
		return PTR_ERR(s);
	if (rq->enclave_cid) {
		if (rq->enclave_cid <= 3)
			return -EINVAL;
		if (find_cid(rq->enclave_cid))
			return -EADDRINUSE;
		s->cid = rq->enclave_cid;
	} else {
		while (find_cid(next_cid))
			next_cid++;
		s->cid = next_cid++;
	}
	late = slot_late_writes(s);
	slot_peek(s, EIF_OFFSET, magic, sizeof(magic));
	s->flags = rq->flags;
	s->state = NE_STATE_RUNNING;
	s->ever_ran = true;
	re->slot_uid = s->uid;
	re->enclave_cid = s->cid;
	hv_log("START_NOTE slot=0x%llx cid=%llu mem=%llu regions=%u vcpus=%u eif_magic=%s late_write_blocks=%u",
	       s->uid, s->cid, s->mem_size, s->nr_regions, s->nr_vcpus,
	       memcmp(magic, ".eif", 4) ? "no" : "yes", late);
	return 0;
}

static int do_info(u64 uid, struct ne_pci_dev_cmd_reply *re)
{
	struct slot *s = find_slot(uid);

	if (!s)
		return -ENOENT;
	re->slot_uid = s->uid;
	re->enclave_cid = s->cid;
	re->mem_regions = s->nr_regions;
	re->mem_size = s->mem_size;
	re->nr_vcpus = s->nr_vcpus;
	re->flags = s->flags;
	re->state = s->state;
	return 0;
}

static int do_stop(u64 uid)
{
	struct slot *s = find_slot(uid);

	if (!s)
		return -ENOENT;
	if (s->state != NE_STATE_RUNNING)
		return -EPERM;
	s->state = NE_STATE_STOPPED;
	return 0;
}

/* The knobs of ctl: waits, and returns the error to answer with, NO_REPLY or 0 */
static int take_knobs(u32 cmd)
{
	unsigned int delay;
	int inject = 0;

	mutex_lock(&hv_lock);
	delay = knob[cmd].delay_ms;
	if (knob[cmd].err && knob[cmd].count) {
		if (knob[cmd].skip) {
			knob[cmd].skip--;
		} else {
			knob[cmd].count--;
			inject = knob[cmd].err;
		}
	}
	mutex_unlock(&hv_lock);

	if (delay)
		msleep(delay);
	return inject;
}

/* What is asked for, before it is carried out: that can free the slot. */
static void describe_request(u32 cmd, void *rq, char *what, size_t size)
{
	struct slot_add_mem_req *mem = rq;
	struct slot_add_vcpu_req *vcpu = rq;
	struct enclave_start_req *start = rq;

	switch (cmd) {
	case SLOT_ADD_MEM:
		snprintf(what, size, "slot=0x%llx paddr=0x%llx size=0x%llx",
			 mem->slot_uid, mem->paddr, mem->size);
		break;
	case SLOT_ADD_VCPU:
		snprintf(what, size, "slot=0x%llx vcpu=%u", vcpu->slot_uid, vcpu->vcpu_id);
		break;
	case ENCLAVE_START:
		snprintf(what, size, "slot=0x%llx cid_requested=%llu flags=0x%llx",
			 start->slot_uid, start->enclave_cid, start->flags);
		break;
	case SLOT_ALLOC:
		break;
	default:
		snprintf(what, size, "slot=0x%llx", *(u64 *)rq);
	}
}

static void describe_reply(u32 cmd, const struct ne_pci_dev_cmd_reply *re, char *what, size_t size)
{
	if (cmd == SLOT_ALLOC)
		snprintf(what, size, "-> slot=0x%llx mem_regions=%llu", re->slot_uid,
			 re->mem_regions);
	else if (cmd == ENCLAVE_START)
		snprintf(what, size, " -> cid=%llu", re->enclave_cid);
	else if (cmd == SLOT_INFO)
		snprintf(what, size, " -> state=%s", state_name(re->state));
}

static int execute(u32 cmd, void *rq, struct ne_pci_dev_cmd_reply *re)
{
	int rc;

	/* these take the lock themselves */
	if (cmd == SLOT_ALLOC)
		return do_alloc(re);
	if (cmd == SLOT_FREE)
		return do_free(*(u64 *)rq);

	mutex_lock(&hv_lock);
	switch (cmd) {
	case SLOT_ADD_MEM:
		rc = do_add_mem(rq, re);
		break;
	case SLOT_ADD_VCPU:
		rc = do_add_vcpu(rq, re);
		break;
	case ENCLAVE_START:
		rc = do_start(rq, re);
		break;
	case SLOT_INFO:
		rc = do_info(*(u64 *)rq, re);
		break;
	case ENCLAVE_STOP:
		rc = do_stop(*(u64 *)rq);
		break;
	default:
		rc = -EOPNOTSUPP;
	}
	mutex_unlock(&hv_lock);
	return rc;
}

static void hv_command(u32 cmd)
{
	struct ne_pci_dev_cmd_reply re = {};
	void *rq = regs + NE_SEND_DATA;
	char what[160] = "";
	size_t len;
	int inject;

	if (cmd <= INVALID_CMD || cmd >= MAX_CMD) {
		re.rc = -EINVAL;
		goto reply;
	}

	inject = take_knobs(cmd);
	describe_request(cmd, rq, what, sizeof(what));
	re.rc = inject ? inject : execute(cmd, rq, &re);
	len = strlen(what);
	if (!re.rc)
		describe_reply(cmd, &re, what + len, sizeof(what) - len);
	hv_log("%s %s rc=%d%s", cmd_name[cmd], what, re.rc,
	       inject == NO_REPLY ? " (injected: no reply)" : inject ? " (injected)" : "");
	if (inject == NO_REPLY)
		return;
reply:
	memcpy(regs + NE_RECV_DATA, &re, sizeof(re));
	if (irq_fn[NE_VEC_REPLY])
		irq_fn[NE_VEC_REPLY](NE_VEC_REPLY, irq_arg[NE_VEC_REPLY]);
}

/* ---- what ne_shim.h points at ----------------------------------------- */

int ne_stub_request_irq(unsigned int irq, irq_handler_t handler, void *dev)
{
	if (irq > 1)
		return -EINVAL;
	irq_fn[irq] = handler;
	irq_arg[irq] = dev;
	return 0;
}

void ne_stub_free_irq(unsigned int irq)
{
	if (irq <= 1)
		irq_fn[irq] = NULL;
}

void __iomem *ne_stub_iomap(void)
{
	return (void __iomem *)regs;
}

void ne_stub_iounmap(void)
{
}

void ne_stub_write(void __iomem *addr, u32 val, unsigned int size)
{
	memcpy((void __force *)addr, &val, size);
	if ((u8 __force *)addr - regs == NE_COMMAND)
		hv_command(val);
}

u32 ne_stub_read(void __iomem *addr, unsigned int size)
{
	u32 val = 0;

	memcpy(&val, (void __force *)addr, size);
	return val;
}

void ne_stub_copy_to(void __iomem *dst, const void *src, size_t n)
{
	memcpy((void __force *)dst, src, n);
}

void ne_stub_copy_from(void *dst, void __iomem *src, size_t n)
{
	memcpy(dst, (void __force *)src, n);
}

/* ---- ctl --------------------------------------------------------------- */

static int cmd_by_name(const char *name)
{
	int i;

	for (i = 1; i < MAX_CMD; i++)
		if (!strcasecmp(cmd_name[i], name))
			return i;
	return -EINVAL;
}

/*
 * exit SLOT|cid=N|all          the enclave ends by itself (out-of-band event)
 * inject REQUEST ERRNO [COUNT [SKIP]]   answer -ERRNO COUNT times (default 1),
 *                              after SKIP good ones; ERRNO "noreply": never answer
 * delay REQUEST MS             every such request takes MS
 * event                        raise the event interrupt, nothing changed
 * max_regions N                as the module parameter
 * next_cid N                   next automatic CID
 * reset                        forget inject / delay / max_regions / next_cid
 */
typedef char ctl_words[5][32];

static int ctl_exit(ctl_words w, int nw)
{
	bool by_cid = !strncmp(w[1], "cid=", 4);
	bool all = !strcmp(w[1], "all");
	bool found = false;
	struct slot *s;
	u64 v = 0;

	if (nw < 2 || (!all && kstrtou64(by_cid ? w[1] + 4 : w[1], 0, &v)))
		return -EINVAL;
	list_for_each_entry(s, &slots, link) {
		if (s->state != NE_STATE_RUNNING)
			continue;
		if (all || (by_cid ? s->cid == v : s->uid == v)) {
			s->state = NE_STATE_STOPPED;
			hv_log("EXIT slot=0x%llx cid=%llu (by ctl)", s->uid, s->cid);
			found = true;
		}
	}
	return found ? 0 : -ENOENT;
}

static int ctl_inject(ctl_words w, int nw)
{
	unsigned int e = 0, count = 1, skip = 0;
	int c = nw < 3 ? -1 : cmd_by_name(w[1]);

	if (c < 0 || (strcmp(w[2], "noreply") && kstrtouint(w[2], 0, &e)) ||
	    (nw > 3 && kstrtouint(w[3], 0, &count)) ||
	    (nw > 4 && kstrtouint(w[4], 0, &skip)))
		return -EINVAL;
	knob[c].err = strcmp(w[2], "noreply") ? -(int)e : NO_REPLY;
	knob[c].count = count;
	knob[c].skip = skip;
	return 0;
}

static int ctl_delay(ctl_words w, int nw)
{
	int c = nw < 3 ? -1 : cmd_by_name(w[1]);

	return c < 0 || kstrtouint(w[2], 0, &knob[c].delay_ms) ? -EINVAL : 0;
}

static int ctl_event(ctl_words w, int nw)
{
	return 0;
}

static int ctl_max_regions(ctl_words w, int nw)
{
	return nw < 2 || kstrtouint(w[1], 0, &stub_max_regions) ? -EINVAL : 0;
}

static int ctl_next_cid(ctl_words w, int nw)
{
	return nw < 2 || kstrtou32(w[1], 0, &next_cid) ? -EINVAL : 0;
}

static int ctl_reset(ctl_words w, int nw)
{
	memset(knob, 0, sizeof(knob));
	stub_max_regions = MAX_REGIONS_DEFAULT;
	next_cid = stub_first_cid;
	return 0;
}

static const struct {
	const char *name;
	int (*run)(ctl_words w, int nw);	/* under hv_lock; 0 or -errno */
	bool event;				/* an interrupt follows */
} ctl_commands[] = {
	{ "exit", ctl_exit, true },
	{ "inject", ctl_inject },
	{ "delay", ctl_delay },
	{ "event", ctl_event, true },
	{ "max_regions", ctl_max_regions },
	{ "next_cid", ctl_next_cid },
	{ "reset", ctl_reset },
};

static ssize_t ctl_write(struct file *f, const char __user *ubuf, size_t n, loff_t *pos)
{
	char buf[128];
	ctl_words w = {};
	bool event = false;
	int nw, i, rc = -EINVAL;

	if (n >= sizeof(buf))
		return -E2BIG;
	if (copy_from_user(buf, ubuf, n))
		return -EFAULT;
	buf[n] = 0;
	nw = sscanf(buf, "%31s %31s %31s %31s %31s", w[0], w[1], w[2], w[3], w[4]);

	mutex_lock(&hv_lock);
	for (i = 0; i < ARRAY_SIZE(ctl_commands); i++) {
		if (strcmp(w[0], ctl_commands[i].name))
			continue;
		rc = ctl_commands[i].run(w, nw);
		event = !rc && ctl_commands[i].event;
	}
	mutex_unlock(&hv_lock);
	if (event && irq_fn[NE_VEC_EVENT])
		irq_fn[NE_VEC_EVENT](NE_VEC_EVENT, irq_arg[NE_VEC_EVENT]);
	return rc ? rc : n;
}

static const struct file_operations ctl_fops = {
	.owner = THIS_MODULE, .open = simple_open, .write = ctl_write,
};

/* ---- "PCI bus" ---------------------------------------------------------- */

static void fake_release(struct device *dev)
{
	kfree(to_pci_dev(dev));
}

int ne_stub_register_driver(struct pci_driver *drv)
{
	int rc;

	next_cid = stub_first_cid;
	logbuf = vzalloc(LOG_SIZE);
	regs = kzalloc(PAGE_SIZE, GFP_KERNEL);
	fake_pdev = kzalloc(sizeof(*fake_pdev), GFP_KERNEL);
	if (!logbuf || !regs || !fake_pdev) {
		rc = -ENOMEM;
		goto free;
	}
	fake_pdev->vendor = drv->id_table[0].vendor;
	fake_pdev->device = drv->id_table[0].device;
	device_initialize(&fake_pdev->dev);
	fake_pdev->dev.release = fake_release;
	dev_set_name(&fake_pdev->dev, "ne-stub-hv");

	top = debugfs_create_dir("ne_stub", NULL);
	debugfs_create_file("log", 0600, top, NULL, &log_fops);
	debugfs_create_file("slots", 0400, top, NULL, &slots_fops);
	debugfs_create_file("ctl", 0200, top, NULL, &ctl_fops);

	rc = drv->probe(fake_pdev, &drv->id_table[0]);
	if (!rc)
		return 0;

	debugfs_remove(top);
	put_device(&fake_pdev->dev);
	fake_pdev = NULL;
free:
	kfree(fake_pdev);
	kfree(regs);
	vfree(logbuf);
	return rc;
}

void ne_stub_unregister_driver(struct pci_driver *drv)
{
	drv->remove(fake_pdev);
	debugfs_remove(top);
	put_device(&fake_pdev->dev);
	kfree(regs);
	vfree(logbuf);
}
