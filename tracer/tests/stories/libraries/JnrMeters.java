import jnr.ffi.Memory;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;

/** The structure of each meter is in native memory, by jnr-ffi; meters are registered and never taken away. */
final class JnrMeters {
    public static void main(String[] arguments) throws Exception {
        Runtime runtime = Runtime.getSystemRuntime();
        register(runtime, 0);
        Story.tell(pace -> run(pace, runtime));
    }

    private static String run(Story.Pace pace, Runtime runtime) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(50); i++) {
            for (int j = 0; j < 10; j++) {
                register(runtime, i);
            }
        }
        return Story.done();
    }

    private static void register(Runtime runtime, int number) {
        Pointer meter = Memory.allocateDirect(runtime, 600);
        meter.putInt(8, number);
        Story.KEPT.add(meter);
    }
}
