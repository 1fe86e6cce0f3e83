package integration

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

func init() { screenCommand = screen }

// These constants are the terminal size for the script command screen.
const (
	screenRows    = 24
	screenColumns = 80
)

// screen implements the script command screen: it runs a command on a terminal and writes the last
// screen contents to the file "screen".
func screen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: screen CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	terminal, side, err := openTerminal()
	ts.Check(err)
	defer terminal.Close()
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), side, side, side
	cmd.Env = os.Environ()
	for _, name := range []string{"HOME", "TMPDIR", "IMAGEGATE_TEMP_DIR", "IMAGEGATE_CACHE_DIR", "IMAGEGATE_CACHE_MAX", "COSIGN_PASSWORD"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	ts.Check(side.Close())
	output, err := io.ReadAll(terminal)
	if err != nil && !errors.Is(err, unix.EIO) { // EIO is the error of a terminal that no program has open any more
		ts.Fatalf("reading the terminal: %v", err)
	}
	code := 0
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	rows := screenLines(string(output))
	text := strings.Join(rows[max(len(rows)-screenRows, 0):], "\n") + "\n"
	ts.Logf("%s", text)
	ts.Check(os.WriteFile(ts.MkAbs("screen"), []byte(text), 0o600))
	if code != want {
		ts.Fatalf("exit code %d, not %d", code, want)
	}
}

// openTerminal returns both ends of a new pseudo-terminal: ours for the test, and theirs for a
// program.
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(ours.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: screenRows, Col: screenColumns})
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	return ours, theirs, nil
}

var sequence = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// screenLines returns the rows that a terminal shows after this output. A carriage return makes the
// following text overwrite the row.
func screenLines(output string) []string {
	var rows []string
	output = sequence.ReplaceAllString(strings.ReplaceAll(output, "\r\n", "\n"), "")
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		line = line[strings.LastIndexByte(line, '\r')+1:]
		runes := []rune(line)
		for len(runes) > screenColumns {
			rows = append(rows, string(runes[:screenColumns]))
			runes = runes[screenColumns:]
		}
		rows = append(rows, string(runes))
	}
	return rows
}
