// Package supervise runs a command in a child process, so that a crash cannot be mistaken for a
// verdict.
//
// The Go runtime exits with code 2, the code of a denial, on a fatal error: a stack overflow,
// exhausted memory, concurrent map writes, or a panic in a goroutine of a library. Deferred
// functions do not run then. So the child sends its exit code over a pipe before it exits. The
// parent accepts the exit code only if it equals the sent code; see [Result].
//
// [Run] is the parent's side and [Attach] the child's. The parent only forwards signals and reads
// the child's messages. [TuneMemory] and [ForbidDumps] prepare a process for its work.
package supervise

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Variable is the environment variable with the child's pipe handles. A child must unset it before
// it starts other programs.
const Variable = "IMAGEGATE_SUPERVISED"

const (
	// maxMessage is the maximum size in bytes of one message from the child. It can be small,
	// because states do not contain findings.
	maxMessage = 4 << 20
	// maxTrace is the maximum number of bytes of the runtime's crash report that are kept.
	maxTrace = 64 << 10
	// drain limits how long the parent keeps reading from the pipes after the child has ended.
	// Without a limit, another program that the child started could hold a pipe open.
	drain = time.Second
)

// message is one message from the child. Exactly one field is set.
type message struct {
	Phase string          `json:"phase,omitempty"`
	State json.RawMessage `json:"state,omitempty"`
	Code  *int            `json:"code,omitempty"`
}

// Result describes how a child ended.
type Result struct {
	// Completed means that the child sent a code and exited with that code. Otherwise the child
	// crashed or was killed, and Code is not valid.
	Completed bool
	Code      int
	// Interrupted means that the parent received a signal and passed it on.
	Interrupted bool
	// Ended describes the end of the process, such as "exit status 2" or "signal: killed".
	Ended string
	// Phase and State are the last phase and the last state that the child sent.
	Phase string
	State []byte
	// Trace is the beginning of the runtime's crash report. It may quote the image.
	Trace string
}

// Command is the command to run. All fields must be set.
type Command struct {
	Path string
	Args []string // the arguments; the first one is the program's name
	Env  []string
	// In and Out become the standard input and output of the child. Err is available to the child
	// as [Child.Err]. The child's own standard error, with the output of the Go runtime, goes to
	// Noise.
	In, Out, Err *os.File
	// Signals has the signals for the child: the first one asks the child to stop, the second one
	// kills it.
	Signals <-chan os.Signal
	// Noise is called with each line that the child writes to its own standard error, except the
	// crash report. Such lines come from the runtime or from other programs.
	Noise func(line string)
}

// Run starts the child and waits for it. It returns an error if the child could not be started or
// waited for.
func Run(c Command) (Result, error) {
	var p pipes
	if err := p.open(); err != nil {
		return Result{}, fmt.Errorf("creating pipes for the child process: %w", err)
	}
	defer p.close()
	cmd := exec.Command(c.Path) //nolint:gosec,noctx // this program itself; a context would kill it without asking
	cmd.Args, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Args, c.In, c.Out, p.noise.w
	handles, err := inherit(cmd, c.Err, p.messages.w, p.control.r)
	if err != nil {
		return Result{}, err
	}
	cmd.Env = append(c.Env, Variable+"="+handles)
	if err := cmd.Start(); err != nil {
		return Result{}, err
	}
	p.closeChilds()

	var r Result
	var sent *int
	var reading sync.WaitGroup
	reading.Go(func() { sent = r.listen(p.messages.r) })
	reading.Go(func() { r.Trace = hear(p.noise.r, c.Noise) })
	ended := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() { r.Interrupted = pass(c.Signals, p.control.w, cmd.Process, ended) })
	err = cmd.Wait()
	close(ended)
	passing.Wait()
	late := time.AfterFunc(drain, func() { p.messages.r.Close(); p.noise.r.Close() })
	reading.Wait()
	late.Stop()

	state := cmd.ProcessState
	if state == nil {
		return Result{}, fmt.Errorf("waiting for the child process: %w", err)
	}
	r.Ended = state.String()
	if sent != nil && state.Exited() && state.ExitCode() == *sent {
		r.Completed, r.Code = true, *sent
	}
	return r, nil
}

// pass forwards signals to the child until the child has ended. It reports whether it forwarded a
// signal.
func pass(signals <-chan os.Signal, control io.Writer, child *os.Process, ended <-chan struct{}) bool {
	for n := 0; ; n++ {
		select {
		case <-ended:
			return n > 0
		case <-signals:
			if n > 0 {
				_ = child.Kill() // Kill fails if the child has already ended
				continue
			}
			_, _ = control.Write([]byte{'\n'})
		}
	}
}

// listen reads all messages of the child and returns the exit code among them, or nil.
func (r *Result) listen(from io.Reader) *int {
	var code *int
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxMessage)
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue // the message may be incomplete, because the child has crashed
		}
		switch {
		case m.Code != nil:
			code = m.Code
		case m.State != nil:
			r.State = m.State
		default:
			r.Phase = m.Phase
		}
	}
	_, _ = io.Copy(io.Discard, from) // keep reading, because the child would block without a reader
	return code
}

// crashMarks are the prefixes of a line that begins a crash report of the Go runtime.
var crashMarks = []string{"panic: ", "fatal error: ", "runtime: ", "unexpected fault address ", "SIG", "goroutine ", "[signal "}

// hear passes the lines of the child's standard error to noise until a crash report begins. It
// returns the crash report, shortened to maxTrace bytes.
func hear(from io.Reader, noise func(string)) string {
	var trace strings.Builder
	lines := bufio.NewReader(from)
	for {
		line, err := readLine(lines)
		if len(line) > 0 {
			text := string(bytes.TrimRight(line, "\r\n"))
			switch {
			case trace.Len() == 0 && !isCrash(text):
				noise(text)
			case trace.Len() < maxTrace:
				trace.WriteString(text + "\n")
			}
		}
		if err != nil {
			return trace.String()
		}
	}
}

// readLine returns a line, or the part of a longer line that fits the buffer.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	return line, err
}

func isCrash(line string) bool {
	for _, mark := range crashMarks {
		if strings.HasPrefix(line, mark) {
			return true
		}
	}
	return false
}

// pipe has the two ends of an operating system pipe.
type pipe struct{ r, w *os.File }

// pipes are the pipes between a parent and its child.
type pipes struct{ noise, messages, control pipe }

func (p *pipes) open() (err error) {
	for _, one := range []*pipe{&p.noise, &p.messages, &p.control} {
		if one.r, one.w, err = os.Pipe(); err != nil {
			p.close()
			return err
		}
	}
	return nil
}

// closeChilds closes the parent's copies of the pipe ends that belong to the child.
func (p *pipes) closeChilds() {
	p.noise.w.Close()
	p.messages.w.Close()
	p.control.r.Close()
}

// close closes all open ends. A second call is harmless.
func (p *pipes) close() {
	for _, one := range []pipe{p.noise, p.messages, p.control} {
		if one.r != nil {
			one.r.Close()
			one.w.Close()
		}
	}
}
