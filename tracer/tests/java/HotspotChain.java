import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;

/**
 * Threads that rest at the end of one chain of calls each: recursion, an interface, a lock, a method handle,
 * reflection, a lambda, a stream, more arguments than registers, a handler of exceptions. The chain is run
 * often before, so that every compiler has its part in it.
 */
public class HotspotChain {
    interface Step {
        int take(int depth, long millis) throws Throwable;
    }

    static final class Recursive implements Step {
        @Override
        public int take(int depth, long millis) throws Throwable {
            if (depth > 0) {
                return take(depth - 1, millis) + 1;
            }
            return locked(millis);
        }
    }

    static final Object LOCK = new Object();
    static volatile int resting;
    static MethodHandle viaHandle;
    static Method viaReflection;

    static int rest(long millis) {
        if (millis == 0) {
            return sleep(0);
        }
        resting++;
        return sleep(millis);
    }

    static int sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            return 1;
        }
        return 0;
    }

    static int locked(long millis) throws Throwable {
        Object lock = new Object();
        synchronized (lock) {
            return (int) viaHandle.invokeExact(millis) + 1;
        }
    }

    static int handled(long millis) {
        try {
            return (Integer) viaReflection.invoke(null, millis);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    public static int reflected(long millis) {
        IntUnaryOperator lambda = x -> x + manyArguments(1, 2L, 3, 4.0, 5, 6, 7L, 8, 9.0f, 10, millis);
        return lambda.applyAsInt(3);
    }

    static int manyArguments(int a, long b, int c, double d, int e, int f, long g, int h, float i, int j,
            long millis) {
        return a + c + (int) (b + g) + (int) d + e + f + h + (int) i + j + streamed(millis);
    }

    static int streamed(long millis) {
        return IntStream.range(0, 1).map(x -> x + caught(millis)).sum();
    }

    static int caught(long millis) {
        try {
            return inlined(millis) / (millis == -1 ? 0 : 1);
        } catch (ArithmeticException e) {
            return 0;
        }
    }

    static int inlined(long millis) {
        return inlinedAgain(millis) + 1;
    }

    static int inlinedAgain(long millis) {
        return rest(millis) + 1;
    }

    static int run(Step step, int depth, long millis) {
        try {
            return step.take(depth, millis);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    static void park() {
        resting++;
        LockSupport.park();
    }

    static void waitForEver() {
        synchronized (LOCK) {
            try {
                resting++;
                LOCK.wait();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    static void start(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(String[] args) throws Throwable {
        MethodType type = MethodType.methodType(int.class, long.class);
        viaHandle = MethodHandles.lookup().findStatic(HotspotChain.class, "handled", type);
        viaReflection = HotspotChain.class.getMethod("reflected", long.class);
        Step step = new Recursive();
        int threads = 0;
        // One thread rests before anything is compiled, others as it gets warmer.
        for (int rounds : new int[] {0, 300, 3_000, 12_000}) {
            for (int i = 0; i < rounds; i++) {
                run(step, i % 9, 0);
            }
            start("chain after " + rounds, () -> run(step, 8, 1_000_000_000L));
            threads++;
            while (resting < threads) {
                Thread.yield();
            }
        }
        start("parked", HotspotChain::park);
        start("waiting", HotspotChain::waitForEver);
        while (resting < threads + 2) {
            Thread.yield();
        }
        Thread.sleep(300);
        System.out.println("ready");
        System.in.read();
    }
}
