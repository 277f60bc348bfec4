import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;

/** A TLS context for each partner that is called, counted by references and never released: OpenSSL keeps it. */
final class NettySsl {
    private static long sum;

    public static void main(String[] arguments) throws Exception {
        connect();
        Story.tell(NettySsl::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        while (pace.next(8)) {
            connect();
        }
        return Story.done();
    }

    private static void connect() throws Exception {
        SslContext context = SslContextBuilder.forClient().sslProvider(SslProvider.OPENSSL_REFCNT).build();
        sum += context.cipherSuites().size();
    }
}
