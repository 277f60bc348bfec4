import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * Objects that keep addresses of native memory as JNI bindings do: some are dropped without being closed, which loses their
 * blocks; others were closed, keep the address all the same, and malloc has handed it out again. And a million objects with
 * random numbers, times and texts, none of which has anything.
 */
public final class Handles {
    private static final int COUNT = 200;
    private static final int NUMBERS = 1_000_000;

    /** Forgotten: nothing frees what it has. */
    static final class Forgotten {
        final long handle;

        Forgotten(long handle) {
            this.handle = handle;
        }
    }

    /** Closed, and not cleared. */
    static final class Closed {
        final long handle;

        Closed(long handle) {
            this.handle = handle;
        }
    }

    /** Open. */
    static final class Open {
        final long handle;

        Open(long handle) {
            this.handle = handle;
        }
    }

    /** Dropped, but a table has its address, by which it may yet be freed. */
    static final class Listed {
        final long handle;

        Listed(long handle) {
            this.handle = handle;
        }
    }

    static final class Numbers {
        final long random;
        final long time;

        Numbers(long random, long time) {
            this.random = random;
            this.time = time;
        }
    }

    /** A binding's table of all that is open, as JNA has it. */
    static final Map<Long, String> TABLE = new HashMap<>();
    static final List<Object> KEPT = new ArrayList<>();
    static final String SECRET = "a password that nobody may see";
    static final char[] LETTERS = "another secret of this program".toCharArray();
    static Object scratch;

    public static void main(String[] arguments) throws Exception {
        sun.misc.Unsafe unsafe = unsafe();
        Random random = new Random(11);
        List<Object> numbers = new ArrayList<>(NUMBERS);
        for (int i = 0; i < NUMBERS; i++) {
            numbers.add(new Numbers(random.nextLong() >>> 17 & ~7L, System.nanoTime() << (i % 16)));
        }
        KEPT.add(numbers);
        for (int i = 0; i < COUNT; i++) {
            Open open = new Open(unsafe.allocateMemory(1_000));
            KEPT.add(open);
            TABLE.put(open.handle, "open");
            Listed listed = new Listed(unsafe.allocateMemory(2_000));
            scratch = listed;
            TABLE.put(listed.handle, "listed");
            scratch = new Forgotten(unsafe.allocateMemory(3_000));
        }
        // Half of these addresses are taken again, by what no object has.
        long[] closed = new long[COUNT];
        for (int i = 0; i < COUNT; i++) {
            closed[i] = unsafe.allocateMemory(5_000);
            scratch = new Closed(closed[i]);
        }
        scratch = null;
        for (long address : closed) {
            unsafe.freeMemory(address);
        }
        for (int i = 0; i < COUNT / 2; i++) {
            unsafe.allocateMemory(5_000);
        }
        System.out.println("ready");
        System.in.read();
        System.out.println(SECRET.length() + LETTERS.length + KEPT.size() > 0 ? "done" : "");
    }

    private static sun.misc.Unsafe unsafe() throws Exception {
        Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        return (sun.misc.Unsafe) field.get(null);
    }
}
