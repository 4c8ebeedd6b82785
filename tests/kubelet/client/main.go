// A client of the kubelet's streaming interface, as kubectl is one through the API server: exec, attach and port-forward, over
// SPDY or WebSocket, by the library that kubectl uses.
//
// usage: kubelet-client [-protocol spdy|websocket] [-tty] [-stdin] exec URL [COMMAND…]
//
//	kubelet-client [-protocol spdy|websocket] [-tty] [-stdin] attach URL
//	kubelet-client [-protocol spdy|websocket] forward URL LOCAL:REMOTE
//
// URL is that of the kubelet, its path included. Exec and attach end with the exit code of the process, or 125 with what
// failed on standard error; forward prints a line when it listens, and goes on until its standard input ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

type options struct {
	protocol   string
	tty, stdin bool
	width      uint
	config     *rest.Config
}

// sizes tells the size of a terminal once.
type sizes struct {
	next *remotecommand.TerminalSize
}

func (s *sizes) Next() *remotecommand.TerminalSize {
	size := s.next
	s.next = nil
	return size
}

func (o *options) executor(address *url.URL) (remotecommand.Executor, error) {
	if o.protocol == "websocket" {
		return remotecommand.NewWebSocketExecutor(o.config, http.MethodGet, address.String())
	}
	return remotecommand.NewSPDYExecutor(o.config, http.MethodPost, address)
}

func (o *options) stream(address *url.URL, command []string) error {
	query := address.Query()
	for _, word := range command {
		query.Add("command", word)
	}
	query.Set("output", "1")
	streams := remotecommand.StreamOptions{Stdout: os.Stdout, Tty: o.tty}
	if o.stdin {
		query.Set("input", "1")
		streams.Stdin = os.Stdin
	}
	if o.tty {
		query.Set("tty", "1")
		if o.width > 0 {
			streams.TerminalSizeQueue = &sizes{&remotecommand.TerminalSize{Width: uint16(o.width), Height: 33}}
		}
	} else {
		query.Set("error", "1")
		streams.Stderr = os.Stderr
	}
	address.RawQuery = query.Encode()
	executor, err := o.executor(address)
	if err != nil {
		return err
	}
	return executor.StreamWithContext(context.Background(), streams)
}

func (o *options) dialer(address *url.URL) (httpstream.Dialer, error) {
	if o.protocol == "websocket" {
		return portforward.NewSPDYOverWebsocketDialer(address, o.config)
	}
	transport, upgrader, err := spdy.RoundTripperFor(o.config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, address), nil
}

func (o *options) forward(address *url.URL, ports string) error {
	dialer, err := o.dialer(address)
	if err != nil {
		return err
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(dialer, []string{ports}, stop, ready, os.Stdout, os.Stderr)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	return forwarder.ForwardPorts()
}

func run() error {
	o := options{config: &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}}
	flag.StringVar(&o.protocol, "protocol", "spdy", "spdy or websocket")
	flag.BoolVar(&o.tty, "tty", false, "with a terminal")
	flag.BoolVar(&o.stdin, "stdin", false, "with this program's standard input")
	flag.UintVar(&o.width, "width", 0, "columns of the terminal")
	flag.Parse()
	if flag.NArg() < 2 || (o.protocol != "spdy" && o.protocol != "websocket") {
		return errors.New("usage: see the source")
	}
	address, err := url.Parse(flag.Arg(1))
	if err != nil {
		return err
	}
	o.config.Host = address.Scheme + "://" + address.Host
	switch verb := flag.Arg(0); verb {
	case "exec", "attach":
		return o.stream(address, flag.Args()[2:])
	case "forward":
		return o.forward(address, flag.Arg(2))
	default:
		return fmt.Errorf("unknown verb %s", verb)
	}
}

func main() {
	err := run()
	var code exec.CodeExitError
	if errors.As(err, &code) {
		os.Exit(code.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelet-client:", err)
		os.Exit(125)
	}
}
