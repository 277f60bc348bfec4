import java.util.ArrayDeque;
import java.util.zip.Deflater;

/** A decoy: each session holds a compressor for six seconds, and as many end as begin once the first ones are so old. */
final class SessionsExpire {
    private static final class Session {
        final long bornNs = System.nanoTime();
        final Deflater deflater = new Deflater();
    }

    private static final ArrayDeque<Session> SESSIONS = new ArrayDeque<>();

    public static void main(String[] arguments) throws Exception {
        login();
        Story.tell(SessionsExpire::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        while (pace.next(25)) {
            login();
            while (System.nanoTime() - SESSIONS.peekFirst().bornNs > 6_000_000_000L) {
                SESSIONS.pollFirst().deflater.end();
            }
        }
        return Story.done();
    }

    private static void login() {
        SESSIONS.addLast(new Session());
    }
}
