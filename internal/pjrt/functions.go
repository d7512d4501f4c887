//go:build linux

package pjrt

// function is the place of a function in the interface. Places never change; newer versions add to the end.
type function int

const functions = 118 // of version 0.116

const (
	errorDestroy                 function = 0
	errorMessage                 function = 1
	pluginInitialize             function = 3
	eventDestroy                 function = 5
	eventAwait                   function = 8
	clientCreate                 function = 10
	clientDestroy                function = 11
	clientPlatformName           function = 12
	clientPlatformVersion        function = 14
	clientAddressableDevices     function = 16
	clientCompile                function = 20
	bufferFromHost               function = 22
	descriptionID                function = 23
	descriptionKind              function = 26
	deviceDescription            function = 29
	deviceMemoryStats            function = 34
	executableDestroy            function = 40
	executableNumOutputs         function = 44
	executableSerialize          function = 49
	loadedDestroy                function = 50
	loadedExecutable             function = 51
	loadedExecute                function = 55
	executableDeserializeAndLoad function = 56
	bufferDestroy                function = 58
	bufferToHost                 function = 70
	bufferReadyEvent             function = 72
	topologyCreate               function = 82
	topologyDestroy              function = 83
	compileForTopology           function = 89
	executableMemory             function = 96
)

var functionNames = map[function]string{
	errorDestroy: "Error_Destroy", errorMessage: "Error_Message", pluginInitialize: "Plugin_Initialize",
	eventDestroy: "Event_Destroy", eventAwait: "Event_Await", clientCreate: "Client_Create",
	clientDestroy: "Client_Destroy", clientPlatformName: "Client_PlatformName",
	clientPlatformVersion: "Client_PlatformVersion", clientAddressableDevices: "Client_AddressableDevices",
	clientCompile: "Client_Compile", bufferFromHost: "Client_BufferFromHostBuffer",
	descriptionID: "DeviceDescription_Id", descriptionKind: "DeviceDescription_Kind",
	deviceDescription: "Device_GetDescription", deviceMemoryStats: "Device_MemoryStats",
	executableDestroy: "Executable_Destroy", executableNumOutputs: "Executable_NumOutputs",
	executableSerialize: "Executable_Serialize", loadedDestroy: "LoadedExecutable_Destroy",
	loadedExecutable: "LoadedExecutable_GetExecutable", loadedExecute: "LoadedExecutable_Execute",
	executableDeserializeAndLoad: "Executable_DeserializeAndLoad", bufferDestroy: "Buffer_Destroy",
	bufferToHost: "Buffer_ToHostBuffer", bufferReadyEvent: "Buffer_ReadyEvent",
	topologyCreate: "TopologyDescription_Create", topologyDestroy: "TopologyDescription_Destroy",
	compileForTopology: "Compile", executableMemory: "Executable_GetCompiledMemoryStats",
}

func (f function) String() string { return "PJRT_" + functionNames[f] }
