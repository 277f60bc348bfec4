import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;

/**
 * What the stories share. A story says {@code started}, works for so many seconds after the line {@code start}, prints its
 * own truth as one line of JSON, and ends when its input does.
 *
 * <p>The truth is what a tracer has to find: the category, the method that owns the memory, the verdict (one of several,
 * where more than one is right), and the bytes that are held at the end, as far as the story can know them.
 */
final class Story {
    /** Everything that must stay reachable until the end. */
    static final List<Object> KEPT = new ArrayList<>();

    /** The work of one story. */
    interface Work {
        String run(Pace pace) throws Exception;
    }

    /** Steps at a steady rate until the time is up, with collections between them if the story wants some. */
    static final class Pace {
        private final long startNs = System.nanoTime();
        private final long lengthNs = (long) (Double.parseDouble(System.getProperty("seconds", "10")) * 1e9);
        private long steps;
        private long collected;
        private double collectEvery;

        /** A full collection each {@code seconds}. */
        Pace collecting(double seconds) {
            collectEvery = seconds;
            return this;
        }

        /** Waits for the next step. False: the time is up. */
        boolean next(double stepsPerSecond) throws InterruptedException {
            return next(stepsPerSecond, 1);
        }

        /** The same, for the first {@code part} of the time only. */
        boolean next(double stepsPerSecond, double part) throws InterruptedException {
            long due = startNs + (long) (++steps / stepsPerSecond * 1e9);
            long wait = due - System.nanoTime();
            if (wait > 0) {
                Thread.sleep(wait / 1_000_000, (int) (wait % 1_000_000));
            }
            collect();
            return seconds() < part * lengthNs / 1e9;
        }

        /** Waits until the time is up. */
        void rest() throws InterruptedException {
            while (seconds() < lengthNs / 1e9) {
                Thread.sleep(50);
                collect();
            }
        }

        /** Waits for so many seconds. */
        void rest(double seconds) throws InterruptedException {
            Thread.sleep((long) (seconds * 1_000));
        }

        private void collect() {
            if (collectEvery > 0 && seconds() > (collected + 1) * collectEvery) {
                collected++;
                System.gc();
            }
        }

        double seconds() {
            return (System.nanoTime() - startNs) / 1e9;
        }
    }

    /** Obeys the lines on stdin. */
    static void tell(Work work) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("started");
        for (String command; (command = commands.readLine()) != null; ) {
            if (command.equals("start")) {
                System.out.println(work.run(new Pace()));
            }
        }
        // Threads of a story may run for ever.
        Runtime.getRuntime().halt(0);
    }

    /** Garbage of so many bytes, for the young generation. */
    static void litter(int bytes) {
        for (int i = 0; i < bytes; i += 1_024) {
            garbage = new byte[1_000];
        }
    }

    private static volatile Object garbage;

    /** The truth of a story. {@code verdicts}: those that are right, separated by blanks. */
    static String truth(String category, String owner, String verdicts, long bytes) {
        return "{\"category\":\"" + category + "\",\"owner\":\"" + owner + "\",\"verdicts\":\"" + verdicts
            + "\",\"bytes\":" + bytes + "}";
    }

    /** The end of a program whose truth stands in {@code programs.toml}. */
    static String done() {
        return "{}";
    }

    /** The truth of a story in which nothing is to be found. */
    static String nothing() {
        return "{\"category\":null,\"owner\":null,\"verdicts\":\"\",\"bytes\":0}";
    }

    private Story() {}
}
