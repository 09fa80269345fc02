package main

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

func vendor(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		var known sync.Map
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(connection, &known)
		}
	}()
	return listener.Addr().String()
}

func asking(wish string) []byte {
	return fmt.Appendf(nil, "POST / HTTP/1.1\r\nhost: v\r\ncontent-length: %d\r\n\r\n%s", len(wish), wish)
}

func TestEveryRightAnswerCountsAndEveryWrongOneIsAnError(t *testing.T) {
	target := vendor(t)
	for name, row := range map[string]struct {
		wish      string
		chunks    int
		end       string
		right     int64
		cancelled int64
	}{
		"whole":            {"bench:openai:0:text:0;", 0, `"finish_reason":"stop"`, 10, 0},
		"native tools":     {"bench:native:0:tools:0;", 0, `"finish_reason":"tool_calls"`, 10, 0},
		"stream":           {"bench:openai:5:text:10;", 6, "data: [DONE]", 10, 0},
		"native stream":    {"bench:native:5:text:0;", 5, `"finish_reason":"stop"`, 10, 0},
		"too few events":   {"bench:native:5:text:0;", 6, "stop", 0, 0},
		"no end":           {"bench:openai:5:text:0;", 5, "nowhere", 0, 0},
		"refused":          {"no wish", 0, "", 0, 0},
		"hang up half-way": {"bench:native:5:text:0;", 5, "stop", 0, 10},
	} {
		cancel := int64(0)
		if row.cancelled > 0 {
			cancel = 1
		}
		plan := &plan{target: target, request: asking(row.wish), connections: 2, requests: 10, chunks: row.chunks,
			end: []byte(row.end), cancel: cancel}
		seen := play(plan)
		if seen.Requests != row.right || seen.Cancelled != row.cancelled || len(seen.Errors) > 0 == (row.right+row.cancelled > 0) {
			t.Errorf("%s: %+v", name, seen)
		}
	}
}

func TestOpenLoopCountsFromWhenARequestWasDue(t *testing.T) {
	plan := &plan{target: vendor(t), request: asking("bench:openai:0:text:20000;"), connections: 1, rate: 100, duration: 200 * time.Millisecond, end: []byte("}")}
	seen := play(plan) // each takes 20 ms, one is due every 10: the last of 20 waited for the others
	if seen.Requests != 20 || seen.Latency["max"] < 150 {
		t.Errorf("%+v", seen)
	}
}

func TestChunksComeOneByOne(t *testing.T) {
	parts := wish{format: "native", chunks: 3, kind: "text"}.parts()
	if len(parts) != 5 || !bytes.Contains(parts[3], []byte(`"finish_reason":"stop"`)) {
		t.Errorf("%q", parts)
	}
}
