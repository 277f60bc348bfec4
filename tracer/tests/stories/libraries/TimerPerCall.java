import java.util.Timer;
import java.util.TimerTask;

/** Each call has a timer of its own that is dropped, not cancelled: its thread ends when a collection finds the timer. */
final class TimerPerCall {
    private static volatile int timeouts;

    public static void main(String[] arguments) throws Exception {
        call();
        Story.tell(TimerPerCall::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(7);
        while (pace.next(12)) {
            call();
        }
        return Story.done();
    }

    private static void call() {
        Timer timer = new Timer(true);
        timer.schedule(new TimerTask() {
            @Override
            public void run() {
                timeouts++;
            }
        }, 10);
    }
}
