// Command traffic is both ends of the benchmark: `traffic upstream` answers as a model vendor would, with bytes made
// beforehand; `traffic load` asks, checks every answer and says how long each took.
package main

import (
	"fmt"
	"os"
)

func main() {
	run := map[string]func([]string) error{"upstream": upstream, "load": load}
	if len(os.Args) < 2 || run[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: traffic upstream|load [flags]")
		os.Exit(2)
	}
	if err := run[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
