package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// plan is what is asked of whom, and what every answer must have.
type plan struct {
	target      string // HOST:PORT
	request     []byte // head and body
	connections int
	duration    time.Duration // how long, unless `requests` says how many
	requests    int64
	rate        float64 // open loop: requests per second, each timed from when it should have been sent
	cancel      int64   // every so many requests the client hangs up in mid-answer; 0: never
	chunks      int     // data lines of a stream, at least; 0: a whole answer
	end         []byte  // stands near the answer's end
}

// result is what one worker, or all of them, saw. Times in milliseconds; `First`: until the first byte of the body.
type result struct {
	Requests  int64            `json:"requests"` // answered, whole and right
	Cancelled int64            `json:"cancelled"`
	Chunks    int64            `json:"chunks"`
	Errors    map[string]int64 `json:"errors"`
	Seconds   float64          `json:"seconds"`
	CPU       float64          `json:"cpu_seconds"`
	Latency   percentiles      `json:"latency_ms"`
	First     percentiles      `json:"first_ms"`
	latency   []float64
	first     []float64
}

type percentiles map[string]float64

func percentilesOf(values []float64) percentiles {
	slices.Sort(values)
	at := func(share float64) float64 { return values[min(int(share*float64(len(values))), len(values)-1)] }
	if len(values) == 0 {
		return percentiles{}
	}
	return percentiles{"p50": at(.5), "p90": at(.9), "p99": at(.99), "max": at(1)}
}

// client is one connection, opened again whenever it ended.
type client struct {
	plan       *plan
	connection net.Conn
	reader     *bufio.Reader
	body       []byte
}

var errCancelled = errors.New("cancelled")

// ask sends one request and reads its answer; the time of the body's first byte. The body is in c.body.
func (c *client) ask(cancel bool) (first time.Time, err error) {
	if c.connection == nil {
		if c.connection, err = net.Dial("tcp", c.plan.target); err != nil {
			return first, errors.New("no connection")
		}
		c.reader = bufio.NewReaderSize(c.connection, 64<<10)
	}
	keep := false
	defer func() {
		if !keep {
			c.connection.Close()
			c.connection = nil
		}
	}()
	_ = c.connection.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err = c.connection.Write(c.plan.request); err != nil {
		return first, errors.New("broken while sending")
	}
	if cancel && c.plan.chunks == 0 {
		return first, errCancelled
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return first, errors.New("no answer")
	}
	c.body = c.body[:0]
	for err == nil {
		var n int
		c.body = slices.Grow(c.body, 32<<10)
		n, err = response.Body.Read(c.body[len(c.body):cap(c.body)])
		if n > 0 && first.IsZero() {
			first = time.Now()
		}
		c.body = c.body[:len(c.body)+n]
		if cancel && n > 0 {
			return first, errCancelled
		}
	}
	if err != io.EOF {
		return first, errors.New("cut")
	}
	keep = !response.Close
	return first, c.plan.check(response.StatusCode, c.body)
}

// check says what is wrong with an answer.
func (p *plan) check(status int, body []byte) error {
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %.200s", status, body)
	}
	if !bytes.Contains(body[max(0, len(body)-2048):], p.end) {
		return fmt.Errorf("no end: %.200s", body[max(0, len(body)-200):])
	}
	if found := bytes.Count(body, []byte("data:")); found < p.chunks {
		return fmt.Errorf("%d events instead of %d", found, p.chunks)
	}
	return nil
}

// play does what the plan says and adds up what its connections saw.
func play(p *plan) result {
	var turns atomic.Int64
	var group sync.WaitGroup
	results := make([]result, p.connections)
	began := time.Now()
	for i := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			c, mine := &client{plan: p}, &results[i]
			mine.Errors = map[string]int64{}
			for {
				turn, due := turns.Add(1)-1, time.Now()
				if p.rate > 0 {
					due = began.Add(time.Duration(float64(turn) / p.rate * float64(time.Second)))
				}
				if p.requests > 0 && turn >= p.requests || p.requests == 0 && due.Sub(began) >= p.duration {
					return
				}
				time.Sleep(time.Until(due))
				mine.note(c, due, p.cancel > 0 && turn%p.cancel == p.cancel-1)
			}
		}()
	}
	group.Wait()
	total := result{Errors: map[string]int64{}, Seconds: time.Since(began).Seconds()}
	for _, each := range results {
		total.Requests += each.Requests
		total.Cancelled += each.Cancelled
		total.Chunks += each.Chunks
		total.latency = append(total.latency, each.latency...)
		total.first = append(total.first, each.first...)
		for name, count := range each.Errors {
			total.Errors[name] += count
		}
	}
	total.Latency, total.First = percentilesOf(total.latency), percentilesOf(total.first)
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		total.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	}
	return total
}

func (r *result) note(c *client, due time.Time, cancel bool) {
	first, err := c.ask(cancel)
	switch {
	case err == errCancelled:
		r.Cancelled++
	case err != nil:
		r.Errors[err.Error()]++
		time.Sleep(time.Millisecond) // do not spin where nobody answers
	default:
		r.Requests++
		r.Chunks += int64(c.plan.chunks)
		r.latency = append(r.latency, time.Since(due).Seconds()*1000)
		r.first = append(r.first, first.Sub(due).Seconds()*1000)
	}
}

// hold opens as many streams as the plan has connections, says so once each has begun, and keeps them until stdin ends.
func hold(p *plan) error {
	var group sync.WaitGroup
	var failed atomic.Int64
	gate, kept := make(chan struct{}, 64), make([]net.Conn, p.connections)
	for i := range kept {
		group.Add(1)
		gate <- struct{}{}
		go func() {
			defer func() { <-gate; group.Done() }()
			connection, err := net.Dial("tcp", p.target)
			kept[i] = connection
			if err == nil {
				_ = connection.SetDeadline(time.Now().Add(60 * time.Second))
				_, err = connection.Write(p.request)
			}
			var response *http.Response
			if err == nil {
				response, err = http.ReadResponse(bufio.NewReaderSize(connection, 1<<10), nil)
			}
			if err == nil {
				_, err = response.Body.Read(make([]byte, 1))
			}
			if err != nil || response.StatusCode != http.StatusOK {
				failed.Add(1)
			}
		}()
	}
	group.Wait()
	fmt.Printf("{\"open\": %d}\n", int64(p.connections)-failed.Load())
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(kept) // a connection that nobody holds is closed
	return err
}

func load(arguments []string) error {
	flags, p := flag.NewFlagSet("load", flag.ExitOnError), &plan{}
	flags.StringVar(&p.target, "target", "", "HOST:PORT")
	file := flags.String("request", "", "file with the bytes of the request, head and body")
	flags.IntVar(&p.connections, "connections", 1, "")
	flags.DurationVar(&p.duration, "duration", time.Second, "")
	flags.Int64Var(&p.requests, "requests", 0, "how many, instead of how long")
	flags.Float64Var(&p.rate, "rate", 0, "open loop, requests per second")
	flags.Int64Var(&p.cancel, "cancel", 0, "hang up in every so manieth")
	flags.IntVar(&p.chunks, "chunks", 0, "events that an answer has at least")
	end := flags.String("end", "}", "what stands near an answer's end")
	holding := flags.Bool("hold", false, "open streams and keep them until stdin ends")
	_ = flags.Parse(arguments)
	p.end = []byte(*end)
	var err error
	if p.request, err = os.ReadFile(*file); err != nil {
		return err
	}
	if *holding {
		return hold(p)
	}
	return json.NewEncoder(os.Stdout).Encode(play(p))
}
