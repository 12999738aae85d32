// A SPIFFE workload API made of go-spiffe's messages and grpc-go, for the test
// of gitseal's own client (tests/ambient.rs).
//
//	spiffe-workload ADDRESS    unix socket path, or IP:PORT
//
// The token comes on standard input; it ends when standard input does. What it
// answers depends on the audience: "denied" has no entry, "none" gets an empty
// list, "large" a token longer than any real one, "slow" waits, "split" gets
// the token in a message of several frames, any other the token.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const identity = "spiffe://example.test/ci/signer"

type api struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	token string
}

func (a *api) FetchJWTSVID(ctx context.Context, asked *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get("workload.spiffe.io"); len(values) != 1 || values[0] != "true" {
		return nil, status.Error(codes.InvalidArgument, "security header missing from request")
	}
	if len(asked.GetAudience()) != 1 {
		return nil, status.Error(codes.InvalidArgument, "audience must be specified")
	}
	svid := func(token string) *workload.JWTSVIDResponse {
		return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{
			{SpiffeId: identity, Svid: token, Hint: "internal"},
			{SpiffeId: "spiffe://example.test/other", Svid: "other"},
		}}
	}
	switch asked.GetAudience()[0] {
	case "denied":
		return nil, status.Error(codes.PermissionDenied, "no identity issued: é\x1b[1m")
	case "none":
		return &workload.JWTSVIDResponse{}, nil
	case "large":
		return svid(strings.Repeat("a", 1<<20)), nil
	case "split":
		answer := svid(a.token)
		for range 1000 {
			answer.Svids = append(answer.Svids, &workload.JWTSVID{SpiffeId: "spiffe://example.test/0123456789abcdef"})
		}
		return answer, nil
	case "slow":
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Second):
		}
		return nil, status.Error(codes.DeadlineExceeded, "slow")
	}
	return svid(a.token), nil
}

func main() {
	network := "unix"
	if !strings.HasPrefix(os.Args[1], "/") {
		network = "tcp"
	}
	listener, err := net.Listen(network, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	in := bufio.NewReader(os.Stdin)
	token, err := in.ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, &api{token: strings.TrimSpace(token)})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		server.Stop()
	}()
	fmt.Println("listening on", listener.Addr())
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
