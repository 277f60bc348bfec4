import java.nio.ByteBuffer;

/** Keeps 50 direct buffers of an unmistakable size, and lets another 50 go (which a collection frees). */
public final class DirectBuffers {
    private static final int KEPT = 50;
    private static final int DROPPED = 50;
    private static final int SIZE = 1_999_993;

    public static void main(String[] arguments) throws Exception {
        Workload.obey(() -> {
            for (int i = 0; i < KEPT; i++) {
                Workload.KEPT.add(allocate());
            }
            for (int i = 0; i < DROPPED; i++) {
                allocate();
            }
            return "{\"size_bytes\":" + SIZE + ",\"kept_count\":" + KEPT + ",\"dropped_count\":" + DROPPED + "}";
        });
    }

    /** The frame that the tests look for. */
    private static ByteBuffer allocate() {
        return ByteBuffer.allocateDirect(SIZE);
    }
}
