import io.netty.bootstrap.Bootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioSocketChannel;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

/** A client with event loops of its own for each call; the connection is closed, the loops are not shut down. */
final class NettyClients {
    public static void main(String[] arguments) throws Exception {
        ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        Thread acceptor = new Thread(() -> accept(server), "acceptor");
        acceptor.setDaemon(true);
        acceptor.start();
        call(server.getLocalPort());
        Story.tell(pace -> run(pace, server.getLocalPort()));
    }

    private static String run(Story.Pace pace, int port) throws Exception {
        pace.collecting(5);
        while (pace.next(4)) {
            call(port);
        }
        return Story.done();
    }

    private static void call(int port) throws Exception {
        NioEventLoopGroup loops = new NioEventLoopGroup(1);
        Bootstrap bootstrap = new Bootstrap().group(loops).channel(NioSocketChannel.class);
        bootstrap.handler(new SimpleChannelInboundHandler<ByteBuf>() {
            @Override
            protected void channelRead0(ChannelHandlerContext context, ByteBuf bytes) {}
        });
        bootstrap.connect(InetAddress.getLoopbackAddress(), port).sync().channel().close().sync();
    }

    private static void accept(ServerSocket server) {
        while (true) {
            try (Socket socket = server.accept()) {
                socket.getInputStream().read();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
