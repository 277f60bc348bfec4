import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.IntUnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.Inflater;

/**
 * Native memory at the end of one chain of calls: recursion, an interface, a lock, a method handle, reflection,
 * a lambda, more arguments than registers, a stream, a handler of exceptions. It is run from cold on, so that every
 * way to run a method has its part in it. Its truth is, for each kind of memory, the methods of this class on the
 * stack as the JVM lists them, the bytes, and how often; all of it is kept.
 */
public class KnownChains {
    private static final int DEPTH = 8;
    private static final int UNSAFE = 0;
    private static final int BUFFER = 1;
    private static final int INFLATER = 2;
    private static final String[] NAMES = {"unsafe", "buffer", "inflater"};
    private static final long[] SIZES = {96, 1_000, 0};
    private static final int[] EVERY = {1, 4, 16};
    private static final long[] COUNTS = new long[NAMES.length];
    private static final String[] CHAINS = new String[NAMES.length];
    /** Unloaded classes and deoptimized callers along the way, if asked for. */
    private static final boolean RESTLESS = Boolean.getBoolean("chains.restless");

    private static sun.misc.Unsafe unsafe;
    private static MethodHandle viaHandle;
    private static Method viaReflection;

    interface Step {
        int take(int kind) throws Throwable;
    }

    static final class Locking implements Step {
        private final Object lock = new Object();

        @Override
        public synchronized int take(int kind) throws Throwable {
            synchronized (lock) {
                return (int) viaHandle.invokeExact(kind) + 1;
            }
        }
    }

    static int recurse(int depth, Step step, int kind) throws Throwable {
        return depth == 0 ? step.take(kind) : recurse(depth - 1, step, kind) + 1;
    }

    static int handled(int kind) {
        try {
            return (Integer) viaReflection.invoke(null, kind);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    public static int reflected(int kind) {
        IntUnaryOperator lambda = x -> x + manyArguments(1, 2L, 3, 4.0, 5, 6, 7L, 8, 9.0f, 10, kind);
        return lambda.applyAsInt(3);
    }

    static int manyArguments(int a, long b, int c, double d, int e, int f, long g, int h, float i, int j, int kind) {
        return a + c + (int) (b + g) + (int) d + e + f + h + (int) i + j + streamed(kind);
    }

    static int streamed(int kind) {
        return IntStream.range(0, 1).map(x -> x + caught(kind)).sum();
    }

    static int caught(int kind) {
        try {
            return thrower(kind) + 1;
        } catch (ArithmeticException e) {
            return leaf(kind);
        }
    }

    static int thrower(int kind) {
        return kind / (kind & 0);
    }

    static int leaf(int kind) {
        return inner(kind) + 1;
    }

    static int inner(int kind) {
        if (CHAINS[kind] == null) {
            CHAINS[kind] = chain();
        }
        COUNTS[kind]++;
        switch (kind) {
            case UNSAFE:
                return (int) unsafe.allocateMemory(SIZES[UNSAFE]);
            case BUFFER:
                Workload.KEPT.add(ByteBuffer.allocateDirect((int) SIZES[BUFFER]));
                return 1;
            default:
                Workload.KEPT.add(new Inflater(true));
                return 2;
        }
    }

    /** The methods of this class on the stack, the innermost first, from {@link #inner} to {@link #run}. */
    private static String chain() {
        return StackWalker.getInstance().walk(frames -> {
            List<String> names = frames.skip(1)
                    .filter(frame -> frame.getClassName().startsWith("KnownChains"))
                    .map(frame -> frame.getClassName() + "." + frame.getMethodName())
                    .collect(Collectors.toList());
            return "[\"" + String.join("\",\"", names.subList(0, names.indexOf("KnownChains.run") + 1)) + "\"]";
        });
    }

    private static void round(Step step, int round) throws Throwable {
        for (int kind = 0; kind < NAMES.length; kind++) {
            if (round % EVERY[kind] == 0) {
                recurse(DEPTH, step, kind);
            }
        }
        if (RESTLESS && round % 512 == 0) {
            Object proxy = java.lang.reflect.Proxy.newProxyInstance(new ClassLoader() {},
                    new Class<?>[] {Runnable.class, Callable.class}, (self, method, arguments) -> 1);
            ((Callable<?>) proxy).call();
            if (round % 2048 == 0) {
                System.gc();
            }
        }
    }

    private static String run() throws Exception {
        int rounds = Integer.getInteger("chains.rounds", 4_000);
        Step step = new Locking();
        try {
            for (int round = 0; round < rounds; round++) {
                round(step, round);
            }
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
        return IntStream.range(0, NAMES.length)
                .mapToObj(kind -> String.format("{\"kind\":\"%s\",\"bytes\":%d,\"count\":%d,\"frames\":%s}",
                        NAMES[kind], SIZES[kind] * COUNTS[kind], COUNTS[kind], CHAINS[kind]))
                .collect(Collectors.joining(",", "{\"chains\":[", "]}"));
    }

    public static void main(String[] args) throws Exception {
        Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        unsafe = (sun.misc.Unsafe) field.get(null);
        MethodHandles.Lookup lookup = MethodHandles.lookup();
        viaHandle = lookup.findStatic(KnownChains.class, "handled", MethodType.methodType(int.class, int.class));
        viaReflection = KnownChains.class.getMethod("reflected", int.class);
        Workload.obey(KnownChains::run);
    }
}
