import java.nio.ByteBuffer;

/** Holds a gigabyte of direct buffers of 1,999,993 bytes each. */
public final class Gigabyte {
    private static final int COUNT = 537;
    private static final int SIZE = 1_999_993;

    public static void main(String[] arguments) throws Exception {
        Workload.obey(() -> {
            for (int i = 0; i < COUNT; i++) {
                Workload.KEPT.add(allocate());
            }
            // The JVM asks for whole words.
            long each = (SIZE + 7) / 8 * 8;
            return "{\"count\":" + COUNT + ",\"bytes\":" + COUNT * each + "}";
        });
    }

    /** The frame that the tests look for. */
    private static ByteBuffer allocate() {
        return ByteBuffer.allocateDirect(SIZE);
    }
}
