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
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	var handles []string
	for _, f := range files {
		h := syscall.Handle(f.Fd())
		if err := syscall.SetHandleInformation(h, syscall.HANDLE_FLAG_INHERIT, syscall.HANDLE_FLAG_INHERIT); err != nil {
			return "", fmt.Errorf("sharing a file with the child process: %w", err)
		}
		cmd.SysProcAttr.AdditionalInheritedHandles = append(cmd.SysProcAttr.AdditionalInheritedHandles, h)
		handles = append(handles, strconv.FormatUint(uint64(h), 10))
	}
	return strings.Join(handles, ","), nil
}

// inherited opens the files that the parent passed on. Programs that this process starts do not
// inherit the files.
func inherited(handles string) ([]*os.File, error) {
	parts := strings.Split(handles, ",")
	if len(parts) != 3 {
		return nil, fmt.Errorf("invalid file handles %q", handles)
	}
	var files []*os.File
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("invalid file handles %q", handles)
		}
		if err := syscall.SetHandleInformation(syscall.Handle(n), syscall.HANDLE_FLAG_INHERIT, 0); err != nil {
			return nil, err
		}
		files = append(files, os.NewFile(uintptr(n), "inherited"))
	}
	return files, nil
}
