import java.io.BufferedReader;
import java.io.InputStreamReader;

/**
 * What the workloads share: a program says {@code started}, then obeys one word a line. {@code start} does its work
 * and prints its own truth as one line of JSON, {@code gc} collects, {@code quit} ends it with a status of its own.
 */
final class Workload {
    /** Unlike anything that a crash or a shell gives. */
    static final int EXIT_STATUS = 23;

    /** Everything that must stay reachable until the end. */
    static final java.util.List<Object> KEPT = new java.util.ArrayList<>();

    /** The work of one program; what it returns is its truth, a JSON object. */
    interface Work {
        String run() throws Exception;
    }

    static void obey(Work work) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("started");
        for (String command; (command = commands.readLine()) != null;) {
            switch (command) {
                case "start":
                    System.out.println(work.run());
                    break;
                case "gc":
                    System.gc();
                    System.out.println("collected");
                    break;
                case "quit":
                    System.exit(EXIT_STATUS);
                    break;
                default:
                    System.out.println("unknown command: " + command);
            }
        }
    }

    private Workload() {}
}
