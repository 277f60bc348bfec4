import java.lang.ref.PhantomReference;
import java.lang.ref.ReferenceQueue;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Stories of a library of the application's own: {@code -Dlibrary=PATH}. */
final class Native {
    /** Asks malloc for so many bytes, and forgets where they are. */
    private static native void forget(int bytes);

    /** Makes so many global references, and forgets them. */
    private static native void remember(Object object, int count);

    private static native long open(int bytes);

    private static native void close(long block);

    static String allocateAndForget(Story.Pace pace) throws Exception {
        System.load(System.getProperty("library"));
        pace.collecting(2.4);
        long count = 0;
        for (; pace.next(100); count++) {
            encode();
        }
        return Story.truth("native:libforget.so", "Native.encode", "leak", count * 10_007);
    }

    private static void encode() {
        forget(10_007);
    }

    static String makeGlobals(Story.Pace pace) throws Exception {
        System.load(System.getProperty("library"));
        pace.collecting(2.4);
        long count = 0;
        for (; pace.next(50); count += 1_000) {
            subscribe(new Object());
        }
        return Story.truth("jni", "Native.subscribe", "leak", count * 8);
    }

    private static void subscribe(Object listener) {
        remember(listener, 1_000);
    }

    /** Handles are dropped, and a thread of the application's own frees what unreachable ones held. */
    static String cleanUp(Story.Pace pace) throws Exception {
        System.load(System.getProperty("library"));
        pace.collecting(2.1);
        ReferenceQueue<Object> unreachable = new ReferenceQueue<>();
        Map<Object, Long> blocks = new ConcurrentHashMap<>();
        Thread cleaner = new Thread(() -> freeUnreachable(unreachable, blocks), "acme-housekeeping");
        cleaner.setDaemon(true);
        cleaner.start();
        while (pace.next(80)) {
            blocks.put(new PhantomReference<>(new Object(), unreachable), decode());
        }
        return Story.truth("native:libforget.so", "Native.decode", "gc-pending", 0);
    }

    private static long decode() {
        return open(20_011);
    }

    private static void freeUnreachable(ReferenceQueue<Object> unreachable, Map<Object, Long> blocks) {
        try {
            while (true) {
                close(blocks.remove(unreachable.remove()));
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private Native() {}
}
