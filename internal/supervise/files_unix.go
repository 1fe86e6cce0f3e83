//go:build !windows

package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// inherit lets the command inherit files, and returns how it finds them.
func inherit(cmd *exec.Cmd, files ...*os.File) (string, error) {
	cmd.ExtraFiles = files
	var handles []string
	for i := range files {
		handles = append(handles, strconv.Itoa(3+i)) // behind the standard ones
	}
	return strings.Join(handles, ","), nil
}

// inherited opens the files that a parent handed down. Programs that this process
// starts do not inherit them.
func inherited(handles string) ([]*os.File, error) {
	if handles != "3,4,5" {
		return nil, fmt.Errorf("unknown files %q", handles)
	}
	var files []*os.File
	for _, fd := range []uintptr{3, 4, 5} {
		syscall.CloseOnExec(int(fd))
		files = append(files, os.NewFile(fd, "inherited"))
	}
	return files, nil
}
