package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Child is a child's connection to its parent. A nil Child means a process without a parent; all
// methods may be called on nil.
type Child struct {
	// Err is the parent's standard error, which may be a terminal.
	Err      *os.File
	control  *os.File
	mu       sync.Mutex
	messages *os.File
	state    []byte // the last state that was sent to the parent
}

// Attach connects a child to its parent. handles is the value of the environment variable
// [Variable].
func Attach(handles string) (*Child, error) {
	files, err := inherited(handles)
	if err != nil {
		return nil, fmt.Errorf("the variable %s was not set by a parent process of imagegate: %w", Variable, err)
	}
	for _, f := range files[1:] {
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("the variable %s was not set by a parent process of imagegate: %w", Variable, err)
		}
		if info.Mode()&os.ModeNamedPipe == 0 {
			return nil, fmt.Errorf("the variable %s was not set by a parent process of imagegate: %w", Variable, errors.New("the file handle is not a pipe"))
		}
	}
	return &Child{Err: files[0], messages: files[1], control: files[2]}, nil
}

// Watch calls stop when the parent asks the child to stop, and orphaned when the parent has ended.
// Watch returns immediately and waits in the background.
func (c *Child) Watch(stop, orphaned func()) {
	if c == nil {
		return
	}
	go func() {
		requests := bufio.NewReader(c.control)
		for {
			if _, err := requests.ReadByte(); err != nil {
				orphaned()
				return
			}
			stop()
		}
	}()
}

// Phase tells the parent the current step, so that a crash report can name the step.
func (c *Child) Phase(phase string) { c.send(message{Phase: phase}) }

// State sends a state to the parent. If the child crashes, the parent reports the last state. State
// does not send the same state twice in a row.
func (c *Child) State(v any) error {
	if c == nil {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(data) > maxMessage/2 {
		return errors.New("the state for the parent process is too large")
	}
	c.mu.Lock()
	same := string(c.state) == string(data)
	c.state = data
	c.mu.Unlock()
	if !same {
		c.send(message{State: data})
	}
	return nil
}

// Finish sends the exit code. The child must then exit with this code immediately.
func (c *Child) Finish(code int) { c.send(message{Code: &code}) }

// send sends a message to the parent. It ignores errors: if the parent has ended, [Child.Watch]
// detects it.
func (c *Child) send(m message) {
	if c == nil {
		return
	}
	data, err := json.Marshal(m)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(c.messages, string(data)+"\n")
}
