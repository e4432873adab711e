// Interpreter runs Lua scripts as Argo CD does, and asks kstatus: a request a line on standard input, as JSON, and an
// answer a line on standard output.
//
// A script sees what Argo CD opens and nothing more: package, base, table, and of os, by require, time and date. It has
// one second. {"do": "lua", "script": …, "object": …} answers {"value": …}; {"do": "kstatus", "object": …} answers
// {"status": …, "message": …}; what fails answers {"error": …}.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

const mostTime = time.Second

type request struct {
	Do     string          `json:"do"`
	Script string          `json:"script"`
	Object json.RawMessage `json:"object"`
}

func main() {
	lines, answers := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // the tests have ended
		}
		answer, err := answerTo(line)
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			panic(err)
		}
	}
}

func answerTo(line []byte) (any, error) {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	switch asked.Do {
	case "lua":
		var object map[string]any
		if err := json.Unmarshal(asked.Object, &object); err != nil {
			return nil, err
		}
		value, err := run(asked.Script, object)
		return map[string]any{"value": json.RawMessage(value)}, err
	case "kstatus":
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(asked.Object); err != nil {
			return nil, err
		}
		found, err := status.Compute(&object)
		if err != nil {
			return nil, err
		}
		return map[string]any{"status": found.Status, "message": found.Message}, nil
	}
	return nil, fmt.Errorf("nothing to do for %q", asked.Do)
}

// run gives the value that a script returns, as JSON.
func run(script string, object map[string]any) ([]byte, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	openLibraries(state)
	limit, cancel := context.WithTimeout(context.Background(), mostTime)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	return luajson.Encode(state.Get(-1))
}

func openLibraries(state *lua.LState) {
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call(state, library.open, library.name)
	}
	call(state, lua.OpenOs, lua.OsLibName)
	whole := state.GetGlobal(lua.OsLibName).(*lua.LTable)
	state.SetGlobal(lua.OsLibName, lua.LNil)
	safe := state.NewTable()
	for _, name := range []string{"time", "date"} {
		safe.RawSetString(name, whole.RawGetString(name))
	}
	state.SetField(state.GetField(state.GetGlobal("package"), "loaded"), lua.OsLibName, lua.LNil)
	state.PreloadModule(lua.OsLibName, func(state *lua.LState) int {
		state.Push(safe)
		return 1
	})
}

func call(state *lua.LState, function lua.LGFunction, name string) {
	state.Push(state.NewFunction(function))
	state.Push(lua.LString(name))
	state.Call(1, 0)
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		list := state.NewTable()
		for _, item := range value {
			list.Append(toLua(state, item))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}
