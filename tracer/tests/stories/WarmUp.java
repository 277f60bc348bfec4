import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.LocalDate;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** What a service does in its first seconds: new classes, new code, and the same again. */
final class WarmUp {
    static Object run(Story.Pace pace) throws Exception {
        Map<String, Object> results = new TreeMap<>();
        for (int round = 0; pace.next(30); round++) {
            // Every second one more thing is done for the first time, at the beginning.
            int kinds = (int) Math.min(6, 1 + pace.seconds());
            for (int kind = 0; kind < kinds; kind++) {
                results.put("kind" + kind, once(kind, round));
            }
        }
        return results;
    }

    private static Object once(int kind, int round) throws Exception {
        List<Integer> numbers = IntStream.range(0, 500).boxed().collect(Collectors.toList());
        switch (kind) {
            case 0:
                return numbers.stream().collect(Collectors.groupingBy(it -> it % 7, Collectors.counting()));
            case 1:
                return String.format("%08.3f %s %x", round * 1.5, LocalDate.ofEpochDay(round), round);
            case 2:
                return Pattern.compile("(a|b)*c{2,5}[^x-z]+").matcher("ababccc" + round).find();
            case 3:
                return MessageDigest.getInstance("SHA-256").digest(("" + round).getBytes(StandardCharsets.UTF_8));
            case 4:
                return new BigDecimal(round).pow(30).divide(new BigDecimal(7), 50, java.math.RoundingMode.HALF_UP);
            default:
                return DateTimeFormatter.ISO_WEEK_DATE.format(LocalDate.ofEpochDay(round));
        }
    }

    private WarmUp() {}
}
