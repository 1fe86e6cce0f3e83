package vulndb

import "fmt"

// Problem is the reason why a database cannot be used.
type Problem string

// The possible problems.
const (
	// Missing means that no database is installed, or only a database for another version of grype.
	Missing Problem = "missing"
	// Corrupt means that the file changed after its installation, or is not a database.
	Corrupt Problem = "corrupt"
	// TooOld means that the build or the data of a provider is older than allowed or has no date.
	TooOld Problem = "too old"
	// FromFuture means that the build or the data of a provider is dated in the future. The clock
	// of this machine is wrong, or the clock of the machine that built the database.
	FromFuture Problem = "from the future"
)

// UnusableError means that the database in Dir cannot be used. Installing another database solves
// this. Dir is empty if the error is only about the metadata of a database.
type UnusableError struct {
	Problem Problem
	Dir     string
	Err     error
}

// Error names the directory, the problem and the cause.
func (e *UnusableError) Error() string {
	where := ""
	if e.Dir != "" {
		where = " in " + e.Dir
	}
	return fmt.Sprintf("the vulnerability database%s is %s: %v", where, e.Problem, e.Err)
}

// Unwrap returns the cause.
func (e *UnusableError) Unwrap() error { return e.Err }

// RecordsError means that [Build] cannot use the records that it was given.
type RecordsError struct{ Err error }

// Error names the folder or file, and the cause.
func (e *RecordsError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RecordsError) Unwrap() error { return e.Err }
