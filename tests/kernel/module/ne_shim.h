/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * Force-included (gcc -include) before the kernel's own, unmodified
 * ne_misc_dev.c and ne_pci_dev.c.  It redirects the handful of PCI / MMIO /
 * interrupt helpers those two files use to ne_stub_hv.c, which is the
 * "device".  Everything else in the two driver files is compiled as is.
 */
#ifndef NE_SHIM_H
#define NE_SHIM_H

#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/pci.h>

int  ne_stub_register_driver(struct pci_driver *drv);
void ne_stub_unregister_driver(struct pci_driver *drv);
int  ne_stub_request_irq(unsigned int irq, irq_handler_t handler, void *dev);
void ne_stub_free_irq(unsigned int irq);
void __iomem *ne_stub_iomap(void);
void ne_stub_iounmap(void);
void ne_stub_write(void __iomem *addr, u32 val, unsigned int size);
u32  ne_stub_read(void __iomem *addr, unsigned int size);
void ne_stub_copy_to(void __iomem *dst, const void *src, size_t n);
void ne_stub_copy_from(void *dst, void __iomem *src, size_t n);

#ifndef NE_STUB_IMPL
#undef pci_register_driver
#undef pci_unregister_driver
#undef pci_enable_device
#undef pci_disable_device
#undef pci_set_master
#undef pci_request_regions_exclusive
#undef pci_release_regions
#undef pci_iomap
#undef pci_iounmap
#undef pci_msix_vec_count
#undef pci_alloc_irq_vectors
#undef pci_free_irq_vectors
#undef pci_irq_vector
#undef request_irq
#undef free_irq
#undef iowrite8
#undef iowrite16
#undef iowrite32
#undef ioread8
#undef ioread16
#undef ioread32
#undef memcpy_toio
#undef memcpy_fromio

#define pci_register_driver(drv)		ne_stub_register_driver(drv)
#define pci_unregister_driver(drv)		ne_stub_unregister_driver(drv)
#define pci_enable_device(p)			((void)(p), 0)
#define pci_disable_device(p)			((void)(p))
#define pci_set_master(p)			((void)(p))
#define pci_request_regions_exclusive(p, n)	((void)(p), 0)
#define pci_release_regions(p)			((void)(p))
#define pci_iomap(p, bar, len)			ne_stub_iomap()
#define pci_iounmap(p, addr)			ne_stub_iounmap()
#define pci_msix_vec_count(p)			((void)(p), 2)
#define pci_alloc_irq_vectors(p, a, b, f)	((void)(p), (b))
#define pci_free_irq_vectors(p)			((void)(p))
#define pci_irq_vector(p, n)			((unsigned int)(n))
#define request_irq(irq, h, f, name, dev)	ne_stub_request_irq(irq, h, dev)
#define free_irq(irq, dev)			ne_stub_free_irq(irq)
#define iowrite8(v, a)				ne_stub_write(a, v, 1)
#define iowrite16(v, a)				ne_stub_write(a, v, 2)
#define iowrite32(v, a)				ne_stub_write(a, v, 4)
#define ioread8(a)				ne_stub_read(a, 1)
#define ioread16(a)				ne_stub_read(a, 2)
#define ioread32(a)				ne_stub_read(a, 4)
#define memcpy_toio(d, s, n)			ne_stub_copy_to(d, s, n)
#define memcpy_fromio(d, s, n)			ne_stub_copy_from(d, s, n)
#endif

#endif
