import java.io.InputStream;
import java.lang.invoke.LambdaMetafactory;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntUnaryOperator;
import java.util.stream.Stream;

/** Stories of classes and their code. */
final class Classes {
    /** A class of which there are as many as there are loaders. */
    public static final class Copied implements IntUnaryOperator {
        @Override
        public int applyAsInt(int value) {
            int sum = value;
            for (int i = 0; i < 50; i++) {
                sum = sum * 31 + (i ^ value) % 7;
                sum ^= Integer.rotateLeft(sum, i) + Integer.bitCount(value + i);
            }
            return sum;
        }
    }

    private static final class Loader extends ClassLoader {
        private final byte[] bytes;

        Loader(byte[] bytes) {
            super(Classes.class.getClassLoader());
            this.bytes = bytes;
        }

        Object copy() throws Exception {
            String name = Copied.class.getName();
            return defineClass(name, bytes, 0, bytes.length).getDeclaredConstructor().newInstance();
        }
    }

    /** Each plugin has its loader, and the registry keeps them all. */
    static String keepLoaders(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        byte[] bytes = bytes();
        while (pace.next(200)) {
            Story.KEPT.add(deployPlugin(bytes));
        }
        return Story.truth("class", "Classes$Loader.copy", "leak", 0);
    }

    private static Object deployPlugin(byte[] bytes) throws Exception {
        return new Loader(bytes).copy();
    }

    /** Generated methods that are hot enough to be compiled, and stay. */
    static String compileCopies(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        byte[] bytes = bytes();
        int sink = 0;
        while (pace.next(40)) {
            IntUnaryOperator copy = (IntUnaryOperator) deployPlugin(bytes);
            for (int i = 0; i < 6_000; i++) {
                sink += copy.applyAsInt(i);
            }
            Story.KEPT.add(copy);
        }
        return Story.truth("code-cache", "Classes$Loader.copy", "leak", sink == 1 ? 1 : 0);
    }

    /** A method that C2 takes long and much memory for, and then nothing. */
    static String compileLarge(Story.Pace pace) throws Exception {
        int[] data = new int[256];
        long sink = 0;
        while (pace.next(200, 0.4)) {
            for (int i = 0; i < 3; i++) {
                sink += Large.run(data, i);
            }
        }
        // It gives most of its memory back within 5 s of its last method.
        CompilationMXBean compiler = ManagementFactory.getCompilationMXBean();
        for (long before = -1; before != compiler.getTotalCompilationTime(); pace.rest(1)) {
            before = compiler.getTotalCompilationTime();
        }
        pace.rest(6);
        data[0] = (int) sink;
        return Story.truth("compiler", "", "transient steady", 0);
    }

    /** Each call makes a class of its own for the same lambda: those live as long as the class that they are made for. */
    static String spinLambdas(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        int sink = 0;
        while (pace.next(150)) {
            IntUnaryOperator rule = compileRule();
            for (int i = 0; i < 3_000; i++) {
                sink += rule.applyAsInt(i);
            }
        }
        return Story.truth("metaspace", "Classes.compileRule", "leak", sink == 1 ? 1 : 0);
    }

    private static IntUnaryOperator compileRule() throws Exception {
        MethodHandles.Lookup lookup = MethodHandles.lookup();
        MethodType type = MethodType.methodType(int.class, int.class);
        MethodHandle rule = lookup.findStatic(Classes.class, "rule", type);
        MethodType maker = MethodType.methodType(IntUnaryOperator.class);
        try {
            return (IntUnaryOperator)
                LambdaMetafactory.metafactory(lookup, "applyAsInt", maker, type, rule, type).getTarget().invoke();
        } catch (Throwable error) {
            throw new IllegalStateException(error);
        }
    }

    private static int rule(int value) {
        return value * 31 + 7;
    }

    /** The application loads its classes for half of the time. */
    static String loadMany(Story.Pace pace) throws Exception {
        List<String> names = new ArrayList<>();
        try (Stream<Path> files = Files.walk(Path.of(URI.create("jrt:/java.base/java")))) {
            files.map(Path::toString).filter(file -> file.endsWith(".class")).forEach(names::add);
        }
        int next = 0;
        while (pace.next(20, 0.55)) {
            for (int i = 0; i < 8 && next < names.size(); i++, next++) {
                String file = names.get(next);
                int start = file.indexOf("java.base/") + "java.base/".length();
                String name = file.substring(start, file.length() - ".class".length()).replace('/', '.');
                Story.KEPT.add(Class.forName(name, false, null));
            }
        }
        pace.rest();
        return Story.nothing();
    }

    /** Classes are loaded and code gets warm, ever more slowly. */
    static String warmUp(Story.Pace pace) throws Exception {
        Story.KEPT.add(WarmUp.run(pace));
        return Story.nothing();
    }

    private static byte[] bytes() throws Exception {
        try (InputStream file = Classes.class.getResourceAsStream("Classes$Copied.class")) {
            return file.readAllBytes();
        }
    }

    private Classes() {}
}
