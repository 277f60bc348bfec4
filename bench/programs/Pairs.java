import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.lang.reflect.Field;
import sun.misc.Unsafe;

/**
 * Allocates and frees native memory on command: {@code pairs DEPTH COUNT} on stdin does COUNT pairs of
 * Unsafe.allocateMemory(64)/freeMemory below DEPTH frames, and answers the nanoseconds of CPU time
 * that they took (other processes' turns are not in it); until stdin closes.
 *
 * To be run with {@code descend} never inlined, so that DEPTH is the number of frames on the stack.
 */
public final class Pairs {
    private static final Unsafe UNSAFE = unsafe();

    private static Unsafe unsafe() {
        try {
            Field field = Unsafe.class.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            return (Unsafe) field.get(null);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    private static void descend(int depth, long count) {
        if (depth > 1) {
            descend(depth - 1, count);
            return;
        }
        for (long i = 0; i < count; i++) {
            UNSAFE.freeMemory(UNSAFE.allocateMemory(64));
        }
    }

    public static void main(String[] arguments) throws Exception {
        // Compiled by the last tier before anything is measured.
        for (int i = 0; i < 30_000; i++) {
            descend(40, 2);
        }
        Thread.sleep(500);
        descend(1, 100_000);
        ThreadMXBean clock = ManagementFactory.getThreadMXBean();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String line; (line = commands.readLine()) != null; ) {
            String[] words = line.split(" ");
            int depth = Integer.parseInt(words[1]);
            long count = Long.parseLong(words[2]);
            long begun = clock.getCurrentThreadCpuTime();
            descend(depth, count);
            System.out.println(clock.getCurrentThreadCpuTime() - begun);
        }
    }
}
