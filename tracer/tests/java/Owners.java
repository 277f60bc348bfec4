import java.lang.ref.SoftReference;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.Inflater;

/**
 * Native memory that is held in every way that there is, each kind in buffers of a size of its own, so that the size tells
 * what is true: held by a static list, a map, a ThreadLocal, a thread's stack, a compiled loop, a virtual thread; soft, weak;
 * garbage alone, in cycles, behind finalizers. Says what is true of each size, then "ready". With "busy" it goes on
 * allocating and moving what holds; "quiet" does not; "still" has no thread that runs, either.
 */
public class Owners {
    /** An owner whose holder is a small graph. */
    static class Node {
        Node other;
        ByteBuffer buffer;
        Inflater inflater;
    }

    /** Kept by the finalizer's thread until it has run. */
    static class Finalizable {
        ByteBuffer buffer;

        @Override
        @SuppressWarnings("removal")
        protected void finalize() {
            if (buffer == null) {
                System.out.println("finalized without a buffer");
            }
        }
    }

    static final List<Object> LIST = new ArrayList<>();
    static final Map<String, Node> MAP = new HashMap<>();
    static final ThreadLocal<List<ByteBuffer>> LOCAL = new ThreadLocal<>();
    static final List<Object> SOFT = new ArrayList<>();
    static final List<Object> WEAK = new ArrayList<>();
    static volatile long sink;
    static volatile boolean ended;
    /** Where the busy program's own garbage goes: it is never held. */
    static Object scratch;

    static ByteBuffer buffer(int kind, int bytes) {
        ByteBuffer buffer = ByteBuffer.allocateDirect(bytes);
        buffer.putInt(0, kind);
        return buffer;
    }

    static void truth(String state, int count, int bytes) {
        System.out.println("truth " + state + " " + count + " " + bytes);
    }

    public static void main(String[] arguments) throws Exception {
        String how = arguments.length > 0 ? arguments[0] : "quiet";
        boolean busy = how.equals("busy");
        boolean still = how.equals("still");
        int each = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 100;
        // Each kind has a size of its own.
        int[] sizes = {2064, 2128, 2192, 2256, 2320, 2384, 2448, 2512, 2576, 2640, 2704, 2768};
        for (int i = 0; i < each; i++) {
            LIST.add(buffer(0, sizes[0]));
            Node node = new Node();
            node.buffer = buffer(1, sizes[1]);
            node.other = node;
            MAP.put("key " + i, node);
            SOFT.add(new SoftReference<>(buffer(4, sizes[4])));
        }
        CountDownLatch started = new CountDownLatch(busy ? 4 : still ? 2 : 3);
        Thread local = new Thread(() -> {
            List<ByteBuffer> list = new ArrayList<>();
            for (int i = 0; i < each; i++) {
                list.add(buffer(2, sizes[2]));
            }
            LOCAL.set(list);
            list = null;
            started.countDown();
            while (!ended) {
                LockSupport.park();
            }
        }, "local-holder");
        local.setDaemon(true);
        local.start();
        Thread stack = new Thread(() -> onStack(each, sizes[3], started), "stack-holder");
        stack.setDaemon(true);
        stack.start();
        Thread loop = new Thread(() -> compiled(sizes[5], started), "loop-holder");
        loop.setDaemon(true);
        if (!still) {
            loop.start();
        }
        boolean isVirtual = inVirtualThread(each, sizes[6]);
        for (int i = 0; i < each; i++) {
            garbage(sizes, i);
        }
        if (busy) {
            Thread mover = new Thread(() -> move(started), "mover");
            mover.setDaemon(true);
            mover.start();
        }
        started.await();
        truth("held", each, sizes[0]);
        truth("held", each, sizes[1]);
        truth("held", each, sizes[2]);
        truth("stack", each, sizes[3]);
        truth("soft", each, sizes[4]);
        if (!still) {
            truth("stack", 1, sizes[5]);
        }
        if (isVirtual) {
            truth("stack", each, sizes[6]);
        }
        truth("collectable", each, sizes[7]);
        truth("collectable", each, sizes[8]);
        truth("collectable", each, sizes[9]);
        truth("collectable", each, sizes[10]);
        System.out.println("ready");
        System.in.read();
        // What was held is still as it was.
        int sum = 0;
        for (Object entry : LIST) {
            // Virtual threads are in it, too.
            if (entry instanceof ByteBuffer) {
                sum += ((ByteBuffer) entry).getInt(0);
            }
        }
        for (Node node : MAP.values()) {
            sum += node.buffer.getInt(0) - 1;
        }
        System.out.println("sum " + sum);
        System.exit(sum == 0 && MAP.size() == each ? 7 : 8);
    }

    static void garbage(int[] sizes, int i) {
        // Alone.
        scratch = buffer(7, sizes[7]);
        // In a cycle.
        Node one = new Node();
        Node two = new Node();
        one.other = two;
        two.other = one;
        one.buffer = buffer(8, sizes[8]);
        scratch = one;
        // Behind a finalizer.
        Finalizable finalizable = new Finalizable();
        finalizable.buffer = buffer(9, sizes[9]);
        scratch = finalizable;
        // Only weakly.
        WEAK.add(new WeakReference<>(buffer(10, sizes[10])));
        scratch = null;
    }

    static void onStack(int count, int bytes, CountDownLatch started) {
        ByteBuffer[] buffers = new ByteBuffer[count];
        for (int i = 0; i < count; i++) {
            buffers[i] = buffer(3, bytes);
        }
        started.countDown();
        while (!ended) {
            LockSupport.park();
        }
        sink = buffers[count / 2].getInt(0);
    }

    static void compiled(int bytes, CountDownLatch started) {
        ByteBuffer buffer = buffer(5, bytes);
        started.countDown();
        while (!ended) {
            sink += hot(buffer);
        }
    }

    static long hot(ByteBuffer buffer) {
        long sum = 0;
        for (int round = 0; round < 1_000_000; round++) {
            sum += buffer.get(round & 1023);
        }
        return sum;
    }

    /** Held by the stacks of virtual threads, where there are any (from 21). */
    static boolean inVirtualThread(int count, int bytes) throws Exception {
        java.lang.reflect.Method start;
        try {
            start = Thread.class.getMethod("startVirtualThread", Runnable.class);
        } catch (NoSuchMethodException old) {
            return false;
        }
        CountDownLatch parked = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            Object thread = start.invoke(null, (Runnable) () -> {
                ByteBuffer buffer = buffer(6, bytes);
                parked.countDown();
                while (!ended) {
                    LockSupport.park();
                }
                sink = buffer.getInt(0);
            });
            LIST.add(thread);
        }
        parked.await();
        // Until the last of them has left its carrier.
        Thread.sleep(200);
        return true;
    }

    /** Moves what holds, and allocates at full speed what is no one's. */
    static void move(CountDownLatch started) {
        started.countDown();
        long round = 0;
        while (!ended) {
            String key = "key " + round++ % MAP.size();
            Node old = MAP.get(key);
            Node node = new Node();
            node.buffer = old.buffer;
            node.other = new Node();
            MAP.put(key, node);
            byte[] bytes = new byte[64 + (int) (round % 512)];
            sink += bytes.length;
        }
    }
}
