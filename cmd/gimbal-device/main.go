//go:build linux

// Command gimbal-device owns accelerators for gimbal, which starts it. It loads the plugin of the vendor, so that a
// crash there does not end a run, and gimbal stays a static binary.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"gimbal/internal/device/wire"
	"gimbal/internal/pjrt"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != wire.Argument {
		fmt.Fprintf(os.Stderr, "gimbal-device %s is started by gimbal: try `gimbal device`\n", wire.Build())
		os.Exit(2)
	}
	answers := os.NewFile(wire.AnswersFD, "answers")
	s := &server{memory: wire.Share(os.NewFile(wire.MemoryFD, "memory")), arrays: map[int64]array{},
		programs: map[int64]*pjrt.Executable{}}
	for r := range requests(os.Stdin) {
		answer, err := s.do(r)
		if err != nil {
			answer = wire.Answer{Error: err.Error()}
			if e := (*pjrt.Error)(nil); errors.As(err, &e) {
				answer.Code = e.Code
			}
		}
		if err := wire.Write(answers, answer); err != nil {
			fail(err)
		}
	}
}

// requests reads what gimbal wants. Its own goroutine sees the end of gimbal at once, whatever a plugin is doing.
func requests(r io.Reader) <-chan wire.Request {
	c := make(chan wire.Request)
	go func() {
		for {
			var q wire.Request
			if err := wire.Read(r, &q); err == io.EOF {
				os.Exit(0)
			} else if err != nil {
				fail(err)
			}
			c <- q
		}
	}()
	return c
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "gimbal-device:", err)
	os.Exit(1)
}
