import io.netty.buffer.ByteBuf;
import io.netty.buffer.PooledByteBufAllocator;

/** Frames are read into pooled buffers, and one of four is never released: the pool takes chunk after chunk. */
final class NettyFrames {
    private static final PooledByteBufAllocator POOL = PooledByteBufAllocator.DEFAULT;

    public static void main(String[] arguments) throws Exception {
        readFrame(1);
        Story.tell(NettyFrames::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(120); i++) {
            readFrame(i);
            Story.litter(50_000);
        }
        return Story.done();
    }

    private static void readFrame(int number) {
        ByteBuf frame = POOL.directBuffer(100_000);
        frame.writeLong(number);
        if (number % 4 != 0) {
            frame.release();
        }
    }
}
