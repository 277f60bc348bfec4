import java.io.InputStream;
import java.util.function.IntUnaryOperator;

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
        return Story.truth("code-cache", "", "leak", sink == 1 ? 1 : 0);
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
        pace.rest();
        data[0] = (int) sink;
        return Story.truth("compiler", "", "transient steady", 0);
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
