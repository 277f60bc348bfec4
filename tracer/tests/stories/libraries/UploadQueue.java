import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.zip.Deflater;

/** Uploads wait in a queue, each with its open compressor; three of four are sent in the time in which four come. */
final class UploadQueue {
    private static final ConcurrentLinkedQueue<Deflater> WAITING = new ConcurrentLinkedQueue<>();

    public static void main(String[] arguments) throws Exception {
        accept();
        Story.tell(UploadQueue::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 0; pace.next(40); i++) {
            accept();
            if (i % 4 != 0) {
                send();
            }
        }
        return Story.done();
    }

    private static void accept() {
        Deflater upload = new Deflater(6);
        upload.setInput(new byte[1_000]);
        upload.deflate(new byte[100]);
        WAITING.add(upload);
    }

    private static void send() {
        Deflater upload = WAITING.poll();
        upload.finish();
        while (!upload.finished()) {
            upload.deflate(new byte[1_000]);
        }
        upload.end();
    }
}
