import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordedFrame;
import jdk.jfr.consumer.RecordedMethod;
import jdk.jfr.consumer.RecordedStackTrace;
import jdk.jfr.consumer.RecordingFile;

/**
 * What a recording of async-profiler's {@code nativemem} tells of the streams that {@code Streams} keeps: for
 * Inflaters and for Deflaters a line {@code BLOCKS BYTES}, of all that was allocated by {@code Streams.keep} and not freed.
 */
public final class HeldBlocks {
    public static void main(String[] arguments) throws Exception {
        Map<Long, RecordedEvent> held = new HashMap<>();
        // In the order of time: an address may be given out again.
        List<RecordedEvent> events = RecordingFile.readAllEvents(Path.of(arguments[0]));
        events.sort((one, other) -> one.getStartTime().compareTo(other.getStartTime()));
        for (RecordedEvent event : events) {
            switch (event.getEventType().getName()) {
                case "profiler.Malloc" -> held.put(event.getLong("address"), event);
                case "profiler.Free" -> held.remove(event.getLong("address"));
                default -> { }
            }
        }
        for (String kind : List.of("Inflater", "Deflater")) {
            long blocks = 0;
            long bytes = 0;
            for (RecordedEvent event : held.values()) {
                if (has(event, "Streams", "keep") && has(event, "java.util.zip." + kind, "")) {
                    blocks++;
                    bytes += event.getLong("size");
                }
            }
            System.out.println(blocks + " " + bytes);
        }
    }

    /** Is there a frame of this class, of this method if one is named? */
    private static boolean has(RecordedEvent event, String type, String name) {
        RecordedStackTrace stack = event.getStackTrace();
        if (stack == null) {
            return false;
        }
        for (RecordedFrame frame : stack.getFrames()) {
            RecordedMethod method = frame.getMethod();
            if (method.getType().getName().equals(type) && (name.isEmpty() || method.getName().equals(name))) {
                return true;
            }
        }
        return false;
    }
}
