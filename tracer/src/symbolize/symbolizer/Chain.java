import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;

/** A known chain of calls that ends in a parked thread, after warming up. */
public class Chain {
    interface Step {
        Object go(int depth, boolean rest);
    }

    static volatile Object sink;

    static class First implements Step {
        public Object go(int depth, boolean rest) {
            return depth > 0 ? recurse(this, depth, rest) : viaLambda(rest);
        }
    }

    static Object recurse(Step step, int depth, boolean rest) {
        return step.go(depth - 1, rest);
    }

    static Object viaLambda(boolean rest) {
        Supplier<Object> supplier = () -> locked(rest);
        return supplier.get();
    }

    static synchronized Object locked(boolean rest) {
        return viaReflection(rest);
    }

    static Object viaReflection(boolean rest) {
        try {
            return Chain.class.getMethod("many", int.class, long.class, int.class, long.class, int.class, double.class,
                    int.class, int.class, boolean.class).invoke(null, 1, 2L, 3, 4L, 5, 6.0, 7, 8, rest);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    public static Object many(int a, long b, int c, long d, int e, double f, int g, int h, boolean rest) {
        return rest ? leaf(a + c + e + g + h) : Long.valueOf(b + d + (long) f);
    }

    static Object leaf(int n) {
        System.out.println("ready");
        while (true) {
            LockSupport.park();
            sink = n;
        }
    }

    public static void main(String[] args) {
        int warm = Integer.parseInt(args[0]);
        for (int i = 0; i < warm; i++) {
            sink = new First().go(5, false);
        }
        sink = new First().go(5, true);
    }
}
