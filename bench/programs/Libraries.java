import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A JVM with many libraries: loads what the JDK has, then libraries of the folder given, until as many are mapped as
 * asked for; prints {@code ready} and their number, and waits until stdin closes.
 */
public final class Libraries {
    private static long mapped() throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
            return lines.map(line -> line.substring(line.lastIndexOf(' ') + 1))
                    .filter(path -> path.startsWith("/") && path.contains(".so"))
                    .distinct()
                    .count();
        }
    }

    private static List<Path> libraries(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.toString().endsWith(".so")).sorted().collect(Collectors.toList());
        }
    }

    public static void main(String[] arguments) throws Exception {
        long wanted = Long.parseLong(arguments[0]);
        List<Path> candidates = new ArrayList<>(libraries(Path.of(System.getProperty("java.home"), "lib")));
        candidates.addAll(libraries(Path.of(arguments[1])));
        for (Path library : candidates) {
            if (mapped() >= wanted) {
                break;
            }
            try {
                System.load(library.toString());
            } catch (UnsatisfiedLinkError e) {
                // It belongs to the boot loader already, or needs what is not installed here.
            }
        }
        System.out.println("ready " + mapped());
        while (System.in.read() >= 0) {}
    }
}
