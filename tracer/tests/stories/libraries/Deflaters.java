import java.util.concurrent.ArrayBlockingQueue;
import java.util.zip.Deflater;

/** A decoy: compressors wait in a pool, are reset after each use, and there are never more than twelve. */
final class Deflaters {
    private static final ArrayBlockingQueue<Deflater> POOL = new ArrayBlockingQueue<>(12);

    public static void main(String[] arguments) throws Exception {
        Story.tell(Deflaters::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 0; pace.next(40); i++) {
            // As load comes up, one is made now and then.
            if (i % 10 == 0 && i < 120) {
                POOL.add(new Deflater());
            }
            respond(i);
        }
        return Story.done();
    }

    private static int respond(int number) throws Exception {
        Deflater deflater = POOL.take();
        deflater.setInput(new byte[2_000 + number % 100]);
        deflater.finish();
        int bytes = deflater.deflate(new byte[1_000]);
        deflater.reset();
        POOL.add(deflater);
        return bytes;
    }
}
