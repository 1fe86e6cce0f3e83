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

// inherit passes files to the command, and returns their handles.
func inherit(cmd *exec.Cmd, files ...*os.File) (string, error) {
	cmd.ExtraFiles = files
	var handles []string
	for i := range files {
		handles = append(handles, strconv.Itoa(3+i)) // the handles after the three standard streams
	}
	return strings.Join(handles, ","), nil
}

// inherited opens the files that the parent passed on. Programs that this process starts do not
// inherit the files.
func inherited(handles string) ([]*os.File, error) {
	if handles != "3,4,5" {
		return nil, fmt.Errorf("invalid file handles %q", handles)
	}
	var files []*os.File
	for _, fd := range []uintptr{3, 4, 5} {
		syscall.CloseOnExec(int(fd))
		files = append(files, os.NewFile(fd, "inherited"))
	}
	return files, nil
}
