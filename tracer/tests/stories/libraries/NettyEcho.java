import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;

/** A decoy: an echo server with pooled buffers, whose clients come and go. */
final class NettyEcho {
    public static void main(String[] arguments) throws Exception {
        NioEventLoopGroup loops = new NioEventLoopGroup(2);
        ServerBootstrap bootstrap = new ServerBootstrap().group(loops).channel(NioServerSocketChannel.class);
        bootstrap.childHandler(new ChannelInitializer<SocketChannel>() {
            @Override
            protected void initChannel(SocketChannel channel) {
                channel.pipeline().addLast(new ChannelInboundHandlerAdapter() {
                    @Override
                    public void channelRead(ChannelHandlerContext context, Object bytes) {
                        context.writeAndFlush(bytes);
                    }
                });
            }
        });
        Channel server = bootstrap.bind(InetAddress.getLoopbackAddress(), 0).sync().channel();
        int port = ((InetSocketAddress) server.localAddress()).getPort();
        for (int i = 0; i < 200; i++) {
            talk(port);
        }
        Story.tell(pace -> run(pace, port));
    }

    private static String run(Story.Pace pace, int port) throws Exception {
        while (pace.next(60)) {
            talk(port);
            Story.litter(300_000);
        }
        return Story.done();
    }

    private static void talk(int port) throws Exception {
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
            socket.getOutputStream().write(new byte[20_000]);
            socket.getInputStream().readNBytes(20_000);
        }
    }
}
