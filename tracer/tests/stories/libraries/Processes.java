/** A decoy: short programs are run, and their outputs read. */
final class Processes {
    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 10; i++) {
            ask();
        }
        Story.tell(Processes::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        while (pace.next(6)) {
            ask();
            Story.litter(500_000);
        }
        return Story.done();
    }

    private static int ask() throws Exception {
        Process process = new ProcessBuilder("/bin/echo", "hello").redirectErrorStream(true).start();
        int bytes = process.getInputStream().readAllBytes().length;
        return bytes + process.waitFor();
    }
}
