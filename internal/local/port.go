package local

import (
	"fmt"
	"net"
	"strconv"
)

// choosePort returns wanted if it is free, and any free port for 0. Somebody else may take it before
// it is used.
func choosePort(wanted int) (int, error) {
	listener, err := net.Listen("tcp", loopback(wanted))
	if err != nil {
		return 0, fmt.Errorf("port %d on 127.0.0.1 is taken by another program: stop that one or choose another port (0 takes a free one): %w", wanted, err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func portFree(port int) bool {
	_, err := choosePort(port)
	return err == nil
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
