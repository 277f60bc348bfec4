import com.sun.jna.Memory;

/** Messages are marshalled into memory of JNA's and dropped: JNA's own cleaner frees it after a collection. */
final class JnaMessages {
    private static long sum;

    public static void main(String[] arguments) throws Exception {
        send(0);
        Story.tell(JnaMessages::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(40); i++) {
            send(i);
        }
        return Story.done();
    }

    private static void send(int number) {
        Memory message = new Memory(30_000);
        message.setInt(0, number);
        sum += message.getInt(0);
    }
}
