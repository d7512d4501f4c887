//go:build linux

package pjrt

// places are the numbers of functions in the interface. They never change: newer versions add functions to the end.
var places = map[string]int{
	"Error_Destroy":                     0,
	"Error_Message":                     1,
	"Error_GetCode":                     2,
	"Plugin_Initialize":                 3,
	"Event_Destroy":                     5,
	"Event_Await":                       8,
	"Client_Create":                     10,
	"Client_PlatformName":               12,
	"Client_PlatformVersion":            14,
	"Client_AddressableDevices":         16,
	"Client_Compile":                    20,
	"Client_BufferFromHostBuffer":       22,
	"DeviceDescription_Id":              23,
	"DeviceDescription_Kind":            26,
	"Device_GetDescription":             29,
	"Device_MemoryStats":                34,
	"Executable_NumOutputs":             44,
	"Executable_Serialize":              49,
	"LoadedExecutable_Destroy":          50,
	"LoadedExecutable_GetExecutable":    51,
	"LoadedExecutable_Execute":          55,
	"Executable_DeserializeAndLoad":     56,
	"Buffer_Destroy":                    58,
	"Buffer_ToHostBuffer":               70,
	"TopologyDescription_Create":        82,
	"Compile":                           89,
	"Executable_GetCompiledMemoryStats": 96,
}

const lastPlace = 96
