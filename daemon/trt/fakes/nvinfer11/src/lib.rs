//! Stand-in for libnvinfer.so.11 and libnvonnxparser.so.11.
clipmark_trt_fakes::export_nvinfer!(11);
