import java.lang.reflect.Field;
import java.util.Random;

/**
 * Tables with primitive values that have the addresses of native memory, as maps of bindings do: the objects that had them
 * are gone, and the table may yet free them. Beside them are memory that is lost, a context in a static field, and random
 * numbers.
 */
public final class Tables {
    private static final int COUNT = 200;
    private static final int NUMBERS = 4_000_000;

    /** An object of a binding; all of them are dropped. */
    static final class Dropped {
        final long handle;

        Dropped(long handle) {
            this.handle = handle;
        }
    }

    /** A table as libraries for primitive keys have it: mostly empty. */
    static final class Table {
        final long[] keys;

        Table(int size) {
            keys = new long[size];
        }

        void put(long key) {
            int at = (int) (key >>> 4) * 0x9e3779b9 >>> 1;
            while (keys[at % keys.length] != 0) {
                at = at + 1 & 0x7fffffff;
            }
            keys[at % keys.length] = key;
        }
    }

    static final Table SMALL = new Table(1_024);
    /** Too large to be copied with the rest of the heap. */
    static final Table LARGE = new Table(300_000);
    static final long[] RANDOM = new long[NUMBERS];
    static long context;
    static Object scratch;

    public static void main(String[] arguments) throws Exception {
        sun.misc.Unsafe unsafe = unsafe();
        Random random = new Random(13);
        for (int i = 0; i < NUMBERS; i++) {
            RANDOM[i] = random.nextLong() >>> 17 & ~15L;
        }
        // The tables are old when what they have is dropped.
        System.gc();
        for (int i = 0; i < COUNT; i++) {
            SMALL.put(drop(unsafe.allocateMemory(1_000)));
            LARGE.put(drop(unsafe.allocateMemory(2_000)));
            drop(unsafe.allocateMemory(3_000));
        }
        // A table that is dropped, too, frees nothing.
        Table gone = new Table(1_024);
        for (int i = 0; i < COUNT; i++) {
            gone.put(drop(unsafe.allocateMemory(4_000)));
        }
        gone = null;
        // One address among numbers is not enough to call it a table, nor to call the block lost.
        RANDOM[NUMBERS / 2] = drop(unsafe.allocateMemory(5_000));
        context = drop(unsafe.allocateMemory(6_000));
        scratch = null;
        System.out.println("ready");
        System.in.read();
        System.out.println(SMALL.keys.length + LARGE.keys.length + context != 0 ? "done" : "");
    }

    private static long drop(long handle) {
        scratch = new Dropped(handle);
        return handle;
    }

    private static sun.misc.Unsafe unsafe() throws Exception {
        Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        return (sun.misc.Unsafe) field.get(null);
    }
}
