import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import sun.misc.Unsafe;

/** Stories of memory outside of the heap that Java code asks for. */
final class Buffers {
    private static final int SIZE = 64 << 10;

    static String keep(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        long bytes = 0;
        for (; pace.next(40); bytes += SIZE) {
            Story.KEPT.add(newPage());
        }
        return Story.truth("direct-buffer", "Buffers.newPage", "leak", bytes);
    }

    private static ByteBuffer newPage() {
        return ByteBuffer.allocateDirect(SIZE);
    }

    /** Dropped, and the session ends before any collection. */
    static String drop(Story.Pace pace) throws Exception {
        while (pace.next(40)) {
            copyOnce();
        }
        return Story.truth("direct-buffer", "Buffers.copyOnce", "gc-pending", 0);
    }

    private static void copyOnce() {
        ByteBuffer.allocateDirect(SIZE).putInt(7);
    }

    /** A pool that fills and stays, while work goes on with what is in it, and beside it. */
    static String pool(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        Deque<ByteBuffer> free = new ArrayDeque<>();
        Unsafe unsafe = unsafe();
        for (int i = 0; pace.next(100); i++) {
            if (i < 200) {
                free.add(fillPool());
            }
            ByteBuffer buffer = free.poll();
            buffer.clear().put(new byte[100]);
            free.add(buffer);
            unsafe.freeMemory(unsafe.allocateMemory(SIZE));
        }
        Story.KEPT.add(free);
        return Story.truth("direct-buffer", "Buffers.fillPool", "pool", 200L * SIZE);
    }

    private static ByteBuffer fillPool() {
        return ByteBuffer.allocateDirect(SIZE);
    }

    /** Many threads write heap buffers: the JDK keeps a direct copy for each of them. */
    static String manyWriters(Story.Pace pace) throws Exception {
        int count = 0;
        for (; pace.next(20, 0.3); count++) {
            Thread writer = new Thread(() -> writeFor(pace), "writer-" + count);
            writer.setDaemon(true);
            writer.start();
        }
        pace.rest();
        return Story.truth("direct-buffer", "Buffers.writeOnce", "pool", count * 300_000L);
    }

    private static void writeFor(Story.Pace pace) {
        try (FileChannel channel = FileChannel.open(Path.of("/dev/null"), StandardOpenOption.WRITE)) {
            while (true) {
                writeOnce(channel);
                Thread.sleep(500);
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private static void writeOnce(FileChannel channel) throws Exception {
        channel.write(ByteBuffer.allocate(300_000));
    }

    /** Shared arenas of the foreign memory interface, by reflection: it came with 21. */
    static String openArenas(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        Class<?> arenas = Class.forName("java.lang.foreign.Arena");
        Method shared = arenas.getMethod("ofShared");
        Method allocate = arenas.getMethod("allocate", long.class, long.class);
        long bytes = 0;
        for (; pace.next(40); bytes += SIZE) {
            Story.KEPT.add(openArena(shared, allocate));
        }
        return Story.truth("direct-buffer", "Buffers.openArena", "leak", bytes);
    }

    private static Object openArena(Method shared, Method allocate) throws Exception {
        Object arena = shared.invoke(null);
        allocate.invoke(arena, (long) SIZE, 8L);
        return arena;
    }

    static String mapFiles(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        Path file = Files.createTempFile("story", ".data");
        Files.write(file, new byte[SIZE]);
        long bytes = 0;
        for (; pace.next(40); bytes += SIZE) {
            Story.KEPT.add(mapSegment(file));
        }
        Files.delete(file);
        return Story.truth("mapped-file", "Buffers.mapSegment", "leak", bytes);
    }

    private static Object mapSegment(Path file) throws Exception {
        try (FileChannel channel = FileChannel.open(file)) {
            return channel.map(FileChannel.MapMode.READ_ONLY, 0, SIZE);
        }
    }

    /** The last twenty segments of a log are kept mapped; older ones are dropped. */
    static String rotateFiles(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        Path file = Files.createTempFile("story", ".data");
        Files.write(file, new byte[4 * SIZE]);
        Deque<Object> last = new ArrayDeque<>();
        while (pace.next(20)) {
            try (FileChannel channel = FileChannel.open(file)) {
                last.add(nextSegment(channel));
            }
            if (last.size() > 20) {
                last.poll();
            }
        }
        Files.delete(file);
        Story.KEPT.add(last);
        return Story.truth("mapped-file", "Buffers.nextSegment", "gc-pending", 0);
    }

    private static Object nextSegment(FileChannel channel) throws Exception {
        return channel.map(FileChannel.MapMode.READ_ONLY, 0, 4 * SIZE);
    }

    /** A cache at its limit frees what it evicts. */
    static String evict(Story.Pace pace) throws Exception {
        Unsafe unsafe = unsafe();
        Random random = new Random(3);
        Map<Integer, ByteBuffer> cache = new LinkedHashMap<>(16, 0.75f, true) {
            @Override
            protected boolean removeEldestEntry(Map.Entry<Integer, ByteBuffer> eldest) {
                if (size() > 150) {
                    unsafe.invokeCleaner(eldest.getValue());
                    return true;
                }
                return false;
            }
        };
        while (pace.next(120)) {
            cache.computeIfAbsent(random.nextInt(500), key -> loadEntry(20_000 + random.nextInt(30_000)));
        }
        Story.KEPT.add(cache);
        return Story.truth("direct-buffer", "Buffers.loadEntry", "pool steady", 0);
    }

    private static ByteBuffer loadEntry(int bytes) {
        return ByteBuffer.allocateDirect(bytes);
    }

    /** 6 KiB a second leak, while 5 MB a second come and go. */
    static String leakSlowly(Story.Pace pace) throws Exception {
        Unsafe unsafe = unsafe();
        long[] ring = new long[64];
        for (int i = 0; pace.next(100); i++) {
            for (int at = 0; at < 5; at++) {
                int slot = (5 * i + at) % ring.length;
                unsafe.freeMemory(ring[slot]);
                ring[slot] = unsafe.allocateMemory(10_000 + slot);
            }
            if (i % 10 == 0) {
                record(unsafe);
            }
        }
        return Story.truth("direct-buffer", "Buffers.record", "leak", 0);
    }

    private static void record(Unsafe unsafe) {
        unsafe.setMemory(unsafe.allocateMemory(600), 600, (byte) 1);
    }

    /** Requests hold memory for half a second, and there are more of them all the time. */
    static String serveMore(Story.Pace pace) throws Exception {
        Unsafe unsafe = unsafe();
        Deque<long[]> inFlight = new ArrayDeque<>();
        while (pace.next(100)) {
            long now = (long) (pace.seconds() * 1_000);
            while (!inFlight.isEmpty() && inFlight.peek()[0] < now) {
                unsafe.freeMemory(inFlight.poll()[1]);
            }
            for (int i = 0; i < 1 + pace.seconds(); i++) {
                inFlight.add(new long[] {now + 500, handle(unsafe)});
            }
        }
        return Story.truth("direct-buffer", "Buffers.handle", "too-short pool steady", 0);
    }

    private static long handle(Unsafe unsafe) {
        return unsafe.allocateMemory(8_000);
    }

    /** Several threads allocate at once, then free all but one block in each page: no page can go back. */
    static String fragment(Story.Pace pace) throws Exception {
        int threads = 4;
        long[][] blocks = new long[threads][25_000];
        parallel(threads, number -> fillBlocks(blocks[number]));
        while (pace.next(2, 0.4)) {}
        parallel(threads, number -> freeMost(blocks[number]));
        Story.KEPT.add(blocks);
        pace.rest();
        return Story.truth("allocator", "", "retention", threads * 18_750L * 1_000);
    }

    private interface Part {
        void run(int number);
    }

    private static void parallel(int count, Part part) throws InterruptedException {
        Thread[] threads = new Thread[count];
        for (int i = 0; i < count; i++) {
            int number = i;
            threads[i] = new Thread(() -> part.run(number), "part-" + i);
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static void fillBlocks(long[] blocks) {
        Unsafe unsafe = unsafe();
        for (int i = 0; i < blocks.length; i++) {
            blocks[i] = unsafe.allocateMemory(1_000);
            unsafe.setMemory(blocks[i], 1_000, (byte) 1);
        }
    }

    private static void freeMost(long[] blocks) {
        Unsafe unsafe = unsafe();
        for (int i = 0; i < blocks.length; i++) {
            if (i % 4 != 0) {
                unsafe.freeMemory(blocks[i]);
            }
        }
    }

    private static Unsafe unsafe() {
        try {
            Field field = Unsafe.class.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            return (Unsafe) field.get(null);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    private Buffers() {}
}
