// SPDX-License-Identifier: GPL-2.0
/*
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * A guest-to-host vsock transport for a machine without a vsock device, so
 * that the test guest looks like an EC2 parent instance to AF_VSOCK:
 *
 *  - the local CID is 3, as on EC2 (bind to CID 3 works, and so does
 *    IOCTL_VM_SOCKETS_GET_LOCAL_CID);
 *  - a process can take the part of an enclave (or of CID 0, where the real
 *    hypervisor serves debug consoles): it opens /dev/ne_stub_vsock, writes
 *    its CID as decimal text, and keeps the file open.  From then on the local
 *    CID is that CID *for this process*: it binds to it explicitly, connects
 *    to 3 and is seen by the parent with its own CID, or listens and is
 *    reached by the parent at that CID.
 *
 * Packets are looped back inside this kernel, through the stock
 * virtio_transport_common code.  Both ends share one socket table, hence one
 * limit: an enclave cannot listen on a port on which the parent listens with
 * VMADDR_CID_ANY.
 */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/virtio_vsock.h>
#include <linux/workqueue.h>

#define PARENT_CID 3

struct part {
	struct list_head link;
	pid_t tgid;
	u32 cid;
};

static LIST_HEAD(parts);
static DEFINE_SPINLOCK(parts_lock);

static struct workqueue_struct *wq;
static struct sk_buff_head queue;
static struct task_struct *delivering;	/* the worker, while it delivers */
static u32 delivering_to;

static u32 sv_local_cid(void)
{
	u32 cid = PARENT_CID;
	struct part *p;
	unsigned long flags;

	/* While a packet is delivered, "local" is the packet's destination. */
	if (READ_ONCE(delivering) == current)
		return delivering_to;

	spin_lock_irqsave(&parts_lock, flags);
	list_for_each_entry(p, &parts, link)
		if (p->tgid == task_tgid_nr(current)) {
			cid = p->cid;
			break;
		}
	spin_unlock_irqrestore(&parts_lock, flags);
	return cid;
}

static void sv_work_fn(struct work_struct *work);
static DECLARE_WORK(sv_work, sv_work_fn);

static int sv_send_pkt(struct sk_buff *skb)
{
	struct virtio_vsock_hdr *hdr = virtio_vsock_hdr(skb);
	int len = skb->len;

	/*
	 * The sender's address is that of its socket, whatever thread runs
	 * this (a socket may be closed by a worker, or after the process gave
	 * its part up).
	 */
	if (skb->sk) {
		u32 cid = vsock_sk(skb->sk)->local_addr.svm_cid;

		if (cid != VMADDR_CID_ANY)
			hdr->src_cid = cpu_to_le64(cid);
	}
	skb_queue_tail(&queue, skb);
	queue_work(wq, &sv_work);
	return len;
}

static int sv_cancel_pkt(struct vsock_sock *vsk)
{
	virtio_transport_purge_skbs(vsk, &queue);
	return 0;
}

static bool sv_seqpacket_allow(u32 remote_cid)
{
	return true;
}

static struct virtio_transport sv_transport = {
	.transport = {
		.module				= THIS_MODULE,
		.get_local_cid			= sv_local_cid,
		.init				= virtio_transport_do_socket_init,
		.destruct			= virtio_transport_destruct,
		.release			= virtio_transport_release,
		.connect			= virtio_transport_connect,
		.shutdown			= virtio_transport_shutdown,
		.cancel_pkt			= sv_cancel_pkt,
		.dgram_bind			= virtio_transport_dgram_bind,
		.dgram_dequeue			= virtio_transport_dgram_dequeue,
		.dgram_enqueue			= virtio_transport_dgram_enqueue,
		.dgram_allow			= virtio_transport_dgram_allow,
		.stream_dequeue			= virtio_transport_stream_dequeue,
		.stream_enqueue			= virtio_transport_stream_enqueue,
		.stream_has_data		= virtio_transport_stream_has_data,
		.stream_has_space		= virtio_transport_stream_has_space,
		.stream_rcvhiwat		= virtio_transport_stream_rcvhiwat,
		.stream_is_active		= virtio_transport_stream_is_active,
		.stream_allow			= virtio_transport_stream_allow,
		.seqpacket_dequeue		= virtio_transport_seqpacket_dequeue,
		.seqpacket_enqueue		= virtio_transport_seqpacket_enqueue,
		.seqpacket_allow		= sv_seqpacket_allow,
		.seqpacket_has_data		= virtio_transport_seqpacket_has_data,
		.notify_poll_in			= virtio_transport_notify_poll_in,
		.notify_poll_out		= virtio_transport_notify_poll_out,
		.notify_recv_init		= virtio_transport_notify_recv_init,
		.notify_recv_pre_block		= virtio_transport_notify_recv_pre_block,
		.notify_recv_pre_dequeue	= virtio_transport_notify_recv_pre_dequeue,
		.notify_recv_post_dequeue	= virtio_transport_notify_recv_post_dequeue,
		.notify_send_init		= virtio_transport_notify_send_init,
		.notify_send_pre_block		= virtio_transport_notify_send_pre_block,
		.notify_send_pre_enqueue	= virtio_transport_notify_send_pre_enqueue,
		.notify_send_post_enqueue	= virtio_transport_notify_send_post_enqueue,
		.notify_buffer_size		= virtio_transport_notify_buffer_size,
	},
	.send_pkt = sv_send_pkt,
};

static void sv_work_fn(struct work_struct *work)
{
	struct sk_buff *skb;

	while ((skb = skb_dequeue(&queue))) {
		delivering_to = le64_to_cpu(virtio_vsock_hdr(skb)->dst_cid);
		WRITE_ONCE(delivering, current);
		virtio_transport_deliver_tap_pkt(skb);
		virtio_transport_recv_pkt(&sv_transport, skb);
		WRITE_ONCE(delivering, NULL);
	}
}

static ssize_t sv_write(struct file *f, const char __user *buf, size_t n, loff_t *pos)
{
	struct part *p = f->private_data;
	u32 cid;
	int rc;

	rc = kstrtou32_from_user(buf, n, 10, &cid);
	if (rc)
		return rc;
	spin_lock_irq(&parts_lock);
	p->tgid = task_tgid_nr(current);
	p->cid = cid;
	spin_unlock_irq(&parts_lock);
	return n;
}

static int sv_open(struct inode *ino, struct file *f)
{
	struct part *p = kzalloc(sizeof(*p), GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	spin_lock_irq(&parts_lock);
	list_add(&p->link, &parts);
	spin_unlock_irq(&parts_lock);
	f->private_data = p;
	return 0;
}

static int sv_release(struct inode *ino, struct file *f)
{
	struct part *p = f->private_data;

	spin_lock_irq(&parts_lock);
	list_del(&p->link);
	spin_unlock_irq(&parts_lock);
	kfree(p);
	return 0;
}

static const struct file_operations sv_fops = {
	.owner = THIS_MODULE, .open = sv_open, .release = sv_release, .write = sv_write,
};

static struct miscdevice sv_misc = {
	.minor = MISC_DYNAMIC_MINOR, .name = "ne_stub_vsock", .fops = &sv_fops, .mode = 0600,
};

static int __init sv_init(void)
{
	int rc;

	skb_queue_head_init(&queue);
	wq = alloc_ordered_workqueue("ne_stub_vsock", 0);
	if (!wq)
		return -ENOMEM;
	rc = misc_register(&sv_misc);
	if (rc)
		goto out_wq;
	rc = vsock_core_register(&sv_transport.transport, VSOCK_TRANSPORT_F_G2H);
	if (rc)
		goto out_misc;
	return 0;
out_misc:
	misc_deregister(&sv_misc);
out_wq:
	destroy_workqueue(wq);
	return rc;
}

static void __exit sv_exit(void)
{
	vsock_core_unregister(&sv_transport.transport);
	misc_deregister(&sv_misc);
	flush_work(&sv_work);
	virtio_vsock_skb_queue_purge(&queue);
	destroy_workqueue(wq);
}

module_init(sv_init);
module_exit(sv_exit);
MODULE_LICENSE("GPL v2");
MODULE_DESCRIPTION("in-guest stand-in for the vsock device of a Nitro parent instance");
MODULE_ALIAS_NETPROTO(PF_VSOCK);
