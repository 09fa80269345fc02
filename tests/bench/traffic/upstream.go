package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const marker = "bench:" // in the request's text; what follows says how it is answered

// wish is what a request asks for: `bench:FORMAT:CHUNKS:KIND:PAUSE;`. FORMAT is `native` (DashScope) or `openai`; 0
// chunks are a whole answer; KIND is `text`, `tools` or `idle` (silence after the first chunk); PAUSE in microseconds
// stands before a whole answer and between the chunks of a stream; without one they are written all at once.
type wish struct {
	format, kind string
	chunks       int
	pause        time.Duration
}

func wished(body []byte) (wish, error) {
	_, after, found := bytes.Cut(body, []byte(marker))
	text, _, end := bytes.Cut(after[:min(len(after), 80)], []byte(";"))
	parts := strings.Split(string(text), ":")
	if !found || !end || len(parts) != 4 {
		return wish{}, fmt.Errorf("no %sFORMAT:CHUNKS:KIND:PAUSE; in the request", marker)
	}
	chunks, bad := strconv.Atoi(parts[1])
	pause, worse := strconv.Atoi(parts[3])
	if bad != nil || worse != nil {
		return wish{}, fmt.Errorf("not numbers: %s", text)
	}
	return wish{parts[0], parts[2], chunks, time.Duration(pause) * time.Microsecond}, nil
}

// writes are what an answer is written in: each chunk for itself, or all at once where no pause is between them.
func (w wish) writes() [][]byte {
	if w.pause == 0 && w.kind != "idle" {
		return [][]byte{bytes.Join(w.parts(), nil)}
	}
	return w.parts()
}

// parts are an answer's head, chunks and end, HTTP's framing included.
func (w wish) parts() [][]byte {
	if w.chunks == 0 {
		body := w.document(strings.Repeat("piece by piece ", 64), "stop", true)
		head := "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
		return [][]byte{[]byte(fmt.Sprintf(head, len(body), body))}
	}
	parts := [][]byte{[]byte("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")}
	for i := range w.chunks {
		finish := ""
		if i == w.chunks-1 {
			finish = "stop"
		}
		event := w.event(i, w.document(fmt.Sprintf("piece %d ", i), finish, i == 0))
		parts = append(parts, []byte(fmt.Sprintf("%x\r\n%s\r\n", len(event), event)))
	}
	if w.format == "openai" {
		parts = append(parts, []byte("e\r\ndata: [DONE]\n\n\r\n"))
	}
	return append(parts, []byte("0\r\n\r\n"))
}

func (w wish) event(i int, document []byte) string {
	if w.format == "native" {
		return fmt.Sprintf("id:%d\nevent:result\n:HTTP_STATUS/200\ndata:%s\n\n", i+1, document)
	}
	return fmt.Sprintf("data: %s\n\n", document)
}

type object map[string]any

// document is one JSON text: a whole answer, or what one event carries.
func (w wish) document(text, finish string, first bool) []byte {
	message := object{"role": "assistant", "content": text}
	if w.kind == "tools" {
		function, id := object{"arguments": fmt.Sprintf(`{"%s": 1}`, text)}, ""
		if w.chunks > 0 { // a part of the arguments
			function["arguments"] = text
		}
		if first {
			function["name"], id = "weather", "call_1"
		}
		message["content"] = ""
		message["tool_calls"] = []object{{"index": 0, "id": id, "type": "function", "function": function}}
		if finish != "" {
			finish = "tool_calls"
		}
	}
	var document object
	if w.format == "native" {
		if finish == "" {
			finish = "null" // as DashScope writes it
		}
		document = object{
			"output":     object{"choices": []object{{"message": message, "finish_reason": finish}}},
			"usage":      object{"total_tokens": 328, "output_tokens": 300, "input_tokens": 28},
			"request_id": "4a2e7b1c-0000-9f9f-8000-123456789abc",
		}
	} else {
		choice := object{"index": 0, "delta": message, "logprobs": nil, "finish_reason": nil}
		if finish != "" {
			choice["finish_reason"] = finish
		}
		document = object{"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1790000000, "model": "bench"}
		if w.chunks == 0 {
			delete(choice, "delta")
			choice["message"], document["object"] = message, "chat.completion"
			document["usage"] = object{"total_tokens": 328, "completion_tokens": 300, "prompt_tokens": 28}
		}
		document["choices"] = []object{choice}
	}
	written, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	return written
}

func upstream(arguments []string) error {
	flags := flag.NewFlagSet("upstream", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "")
	_ = flags.Parse(arguments)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	var known sync.Map
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(connection, &known)
	}
}

func serve(connection net.Conn, known *sync.Map) {
	defer connection.Close()
	reader, body := bufio.NewReaderSize(connection, 64<<10), new(bytes.Buffer)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		body.Reset()
		if _, err := io.Copy(body, request.Body); err != nil {
			return
		}
		wish, err := wished(body.Bytes())
		if err != nil {
			fmt.Fprintf(connection, "HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%s", len(err.Error()), err)
			continue
		}
		parts, found := known.Load(wish)
		if !found {
			parts, _ = known.LoadOrStore(wish, wish.writes())
		}
		if !answer(connection, wish, parts.([][]byte)) {
			_, _ = reader.ReadByte() // until who asked goes away
			return
		}
	}
}

// answer writes an answer; false when nothing may follow it on this connection.
func answer(connection net.Conn, wish wish, parts [][]byte) bool {
	began := time.Now()
	for i, part := range parts {
		if wish.pause > 0 && (wish.chunks == 0 || i > 1) {
			time.Sleep(time.Until(began.Add(wish.pause * time.Duration(max(i-1, 1)))))
		}
		if wish.kind == "idle" && i == 2 {
			return false
		}
		if _, err := connection.Write(part); err != nil {
			return false
		}
	}
	return true
}
