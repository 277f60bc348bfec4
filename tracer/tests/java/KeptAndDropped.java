import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * Allocates direct buffers all the time: those of one line are kept by a static list, those of another are dropped at once,
 * and those of a third are kept by the stack of the main thread. No collection runs.
 */
public final class KeptAndDropped {
    static final List<ByteBuffer> KEPT = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        ByteBuffer[] mine = new ByteBuffer[1 << 16];
        System.out.println("ready");
        for (int round = 0; round < mine.length && System.in.available() == 0; round++) {
            for (int i = 0; i < 4; i++) {
                KEPT.add(kept());
                dropped();
            }
            mine[round] = onStack();
            Thread.sleep(10);
        }
        System.out.println(KEPT.size() > 0 && mine[0] != null ? "done" : "nothing");
    }

    private static ByteBuffer kept() {
        return ByteBuffer.allocateDirect(4_000);
    }

    private static ByteBuffer dropped() {
        return ByteBuffer.allocateDirect(3_000);
    }

    private static ByteBuffer onStack() {
        return ByteBuffer.allocateDirect(8_000);
    }
}
